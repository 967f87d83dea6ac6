"""Convert sweeps in Hydra's override grammar to Optuna's distributions."""

import math
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from optuna.distributions import BaseDistribution

from mnist_compact.common.errors import ConfigError

Read = tuple[dict[str, BaseDistribution], dict[str, Any], list[str]]


def read(words: Sequence[str]) -> Read:
    """Divide overrides into sweeps, single values and others.

    Returns:
        Key → distribution of each `key=sweep`, key → value of each `key=value`, and the remaining overrides.

    Raises:
        ConfigError: It names every sweep that has no value, or that a search cannot sample.
    """
    searched, values, others, faults = dict[str, BaseDistribution](), dict[str, Any](), list[str](), list[str]()
    for word, override in zip(words, OverridesParser.create().parse_overrides([*words]), strict=True):
        rule = _rule_broken_by(override)
        if rule is not None:
            faults.append(f"{override.key_or_group} {rule}, got {override.get_value_string()}")
            continue
        found = create_params_from_overrides([word])
        searched.update(found[0])
        values.update(found[1])
        others += found[2]
    if faults:
        raise ConfigError(faults)
    return searched, values, others


def listed(word: str, files: Iterable[str]) -> str:
    """Replace `group=glob(…)` by a choice of the matching options; return any other override unchanged.

    Args:
        word: One override.
        files: The paths of all config files, relative to the config folder.

    Raises:
        ConfigError: No option matches the pattern.
    """
    (override,) = OverridesParser.create().parse_overrides([word])
    pattern = None if override.is_delete() else override.value()
    if not isinstance(pattern, Glob):
        return word
    group = override.key_or_group
    options = sorted(PurePosixPath(file).stem for file in files if PurePosixPath(file).parent.as_posix() == group)
    matching = pattern.filter(options)
    if not matching:
        known = f"options of {group}: {', '.join(options)}" if options else f"{group} is not a config group"
        raise ConfigError([f"{group} must match at least one option, got {override.get_value_string()}; {known}"])
    return f"{override.get_key_element()}=choice({','.join(matching)})"


def _rule_broken_by(override: Override) -> str | None:
    """Return the rule that a sweep breaks; None for a sweep that can be searched, and for any other override."""
    sweep = None if override.is_delete() else override.value()
    if isinstance(sweep, ChoiceSweep | RangeSweep) and sweep.shuffle:
        return "must not be shuffled, because all processes of a search need the same order"
    if isinstance(sweep, RangeSweep):
        return _fault_of_range(sweep)
    return _fault_of_interval(sweep) if isinstance(sweep, IntervalSweep) else None


def _fault_of_range(sweep: RangeSweep) -> str | None:
    assert sweep.start is not None
    assert sweep.stop is not None
    if not all(map(math.isfinite, (sweep.start, sweep.stop, sweep.step))):
        return "must have finite ends and a finite step"
    if sweep.step == 0:
        return "must have a step other than 0"
    return None if any(True for _ in sweep) else "must contain at least one value"


def _fault_of_interval(sweep: IntervalSweep) -> str | None:
    assert sweep.start is not None
    assert sweep.end is not None
    if not (math.isfinite(sweep.start) and math.isfinite(sweep.end)):
        return "must have finite ends"
    if sweep.start > sweep.end:
        return "must begin with its lower end"
    if "log" in sweep.tags and sweep.start <= 0:
        return "must be above 0 to be searched on a logarithmic scale"
    return None
