"""A confirmed configuration as a named experiment: a file of deltas whose header states its results."""

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.nested import flat
from mnist_compact.common.statistics import minutes_text, threshold_text
from mnist_compact.config.composition import compose, options_of
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import GROUPS, RunConfig, configuration_folder, to_record
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.records.settings import MACHINE


def place_of(name: str, folder: Path | None = None) -> Path:
    """`folder`/`name`.yaml (default: conf/experiment). Raises ConfigError for one taken, or that cannot be typed."""
    check_name("--save", name)
    path = (folder or configuration_folder() / "experiment") / f"{name}.yaml"
    check_free(path)
    return path


def check_name(option: str, name: str) -> None:
    """Raises ConfigError for one that cannot be typed, or would lead elsewhere."""
    if not name.replace("_", "").replace("-", "").isalnum():
        raise ConfigError([f"{option} must be a name of letters, digits, - and _, got {name!r}"])


def check_free(path: Path, hint: str = "") -> None:
    """Raises ConfigError where something stands at `path`."""
    if path.exists():
        raise ConfigError([f"{path} exists already{hint}"])


def save(seed_results: SeedResults, name: str, folder: Path | None = None) -> Path:
    """Write `place_of(name, folder)` so that experiment=`name` is this configuration.

    On the command line's own data, or on the test images of another data set that it was confirmed on; among conf/'s
    own it is composed once more to see. Raises ConfigError as `place_of` does, and for a configuration that conf/'s
    options cannot express; nothing is left then.
    """
    path = place_of(name, folder)
    run = from_record(seed_results.confirmation.config)
    choices, changes = deltas(run)
    lines = [
        "# @package _global_",
        *(f"# {' '.join(line.split())}" for line in header(seed_results)),  # a folder's name may break lines
        "defaults:",
        *(f"  - override /{group}: {option}" for group, option in choices.items()),
        f"experiment: {name}",
    ]
    body = yaml.safe_dump(_nested(changes), sort_keys=False, allow_unicode=True) if changes else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        beside.write_text("\n".join(lines) + "\n" + body, encoding="utf-8")
    if folder is None:
        try:
            _check_saved(name, run)
        except ConfigError:
            path.unlink()
            raise
    return path


def header(seed_results: SeedResults) -> list[str]:
    """What was measured, in lines."""
    summary, results = seed_results.summary(), seed_results.completed
    spread = "" if summary.sd is None else f" ± {summary.sd:.3f}"
    interval = ""
    if summary.low is not None:
        interval = f", 95 % interval of the mean {summary.low:.3f}–{summary.high:.3f}{summary.caution}"
    lost = f", while {seed_results.failed} of {seed_results.asked} diverged" if seed_results.failed else ""
    return [
        f"{seed_results.confirmation.split} accuracy {summary.mean:.3f}{spread} % (mean ± sd of {summary.n} fresh seeds"
        f"{lost}, last epoch, {seed_results.weights} weights)",
        f"lowest {summary.minimum:.2f}, highest {summary.maximum:.2f}{interval}; "
        f"{seed_results.above()} of {seed_results.asked} seeds above {threshold_text(seed_results.threshold)}",
        f"{results[0].parameters:,} parameters; a run takes {minutes_text(seed_results.minutes())}; "
        f"from {seed_results.confirmation.source}",
        *seed_results.notes(),
    ]


def deltas(run: RunConfig) -> tuple[dict[str, str], dict[str, Any]]:
    """Options that are not the defaults, and the keys in which `run` differs from its options.

    Left as they are: the machine, and data but for test images: those of another data set than the default are an
    option to name.
    Raises ConfigError for an option that conf/ does not have.
    """
    defaults = options_of()
    told = [group for group in GROUPS if group != MACHINE and (group != "data" or run.data.role == "test")]
    options = {group: getattr(run, group).name for group in told}
    choices = {group: option for group, option in options.items() if option != defaults[group]}
    chosen = compose(*(f"{group}={option}" for group, option in choices.items()))
    wanted, given = flat(to_record(run)), flat(to_record(chosen))
    changes = {
        key: value
        for key, value in wanted.items()
        if key not in given or value != given[key]
        if key.partition(".")[0] in options
    }
    return choices, changes


def _check_saved(name: str, run: RunConfig) -> None:
    """Raises ConfigError where experiment=`name` is not `run`, seed, data and machine aside."""
    saved = compose(f"experiment={name}")
    data = run.data if run.data.role == "test" else saved.data
    alike = dataclasses.replace(run, data=data, machine=saved.machine, seed=saved.seed, experiment=name)
    there, wanted = flat(to_record(saved)), flat(to_record(alike))
    wrong = [key for key in wanted if there.get(key) != wanted[key]]
    if wrong:
        raise ConfigError([f"experiment={name} does not come out the same: {', '.join(wrong)}"])


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree
