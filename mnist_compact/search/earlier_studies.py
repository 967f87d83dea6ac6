"""`hydra.sweeper.prior`: choose the trials of earlier studies from which the sampler of a new study can learn.

A complete trial of an earlier study is used if its configuration is a point of the new space, that is, if it has a
value within the range for every key that the new study searches there. It does not matter whether the earlier study
searched the key or set it, nor in which branch. The score must have the same meaning in both studies: the same
objectives, images, number of epochs and kind of weights, and a network within the budget.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import FrozenTrial, TrialState

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.nested import flat
from mnist_compact.common.wording import counted
from mnist_compact.config.error_messages import explain
from mnist_compact.config.schema import RunConfig, to_record
from mnist_compact.records.discovery import EXPORTED
from mnist_compact.search.builders import point_of, space_of
from mnist_compact.search.counts import CONSTRAINTS, is_refused
from mnist_compact.search.locate import database_of
from mnist_compact.search.migrations import migrate_snapshot
from mnist_compact.search.reading import study_named
from mnist_compact.search.snapshot import PRIOR, Composer, ConfigSnapshot
from mnist_compact.search.space import Known, SearchSpace, contains

KEY = "hydra.sweeper.prior"
SHOWN = 5  # reasons or settings in a message
# Settings that do not affect what a trial's score says about the searched values.
IMMATERIAL = ("data.", "machine.", "budget.", "seed", "experiment")

PriorTrial = dict[str, Any]  # plain JSON: an entry of the snapshot's list of prior trials


class _LeftOut(Exception):
    """The reason for which a trial cannot be used."""


@dataclass(slots=True)
class _EarlierTrial:
    trial: FrozenTrial
    config: RunConfig | str  # or the reason for which the configuration cannot be composed


def collect(
    snapshot: ConfigSnapshot, space: SearchSpace, composer: Composer, *, folder: Path, url: str | None
) -> tuple[list[PriorTrial], list[str]]:
    """Collect the prior trials of a new study.

    Args:
        snapshot: The new study's snapshot, whose settings name the earlier studies.
        space: The new study's space.
        composer: Composes runs of the new study.
        folder: The folder of the earlier studies.
        url: The storage of the earlier studies, used instead of their databases in `folder`.

    Returns:
        The prior trials, and a line for each study that says how many of its trials are used or left out, and why.

    Raises:
        ConfigError: An earlier study does not exist, has other objectives, or has no trial that can be used.
    """
    entries, lines, faults = list[PriorTrial](), list[str](), list[str]()
    objectives = snapshot["settings"]["objectives"]
    earlier = {name: _earlier_trials(name, objectives, folder, url) for name in snapshot["settings"][PRIOR]}
    known = composer.known().get
    for name, trials in earlier.items():
        used, left_out, differing = list[PriorTrial](), Counter[str](), dict[str, None]()
        for each in trials:
            try:
                found = _used(each, space, composer, known, differing)
            except _LeftOut as reason:
                left_out[str(reason)] += 1
            else:
                used.append({"study": name, "trial": each.trial.number, **found})
        entries += used
        if not used:
            faults.append(f"{KEY}: no trial of {name} can be used: {_most_common(left_out)}")
        lines.append(_line(name, len(used), left_out, list(differing)))
    if faults:
        raise ConfigError(faults)
    return entries, lines


def _earlier_trials(name: str, objectives: list[str], folder: Path, url: str | None) -> list[_EarlierTrial]:
    """Return the complete trials of an earlier study with their configurations, composed from its own snapshot."""
    if url is None and not name.endswith(EXPORTED) and not database_of(folder, name).is_file():
        raise ConfigError([f"{KEY} must name a study in {folder} or an exported file, got {name!r}"])
    with study_named(name, folder=folder, storage=url) as study:
        snapshot = study.user_attrs.get("frozen")
        trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if snapshot is None:
        raise ConfigError([f"{KEY}: {name} was not created by this program, so its configurations are unknown"])
    snapshot = migrate_snapshot(snapshot)
    then = snapshot["settings"]["objectives"]
    if then != objectives:
        raise ConfigError([f"{KEY}: {name} must have the objectives {objectives} of this search, got {then}"])
    trained = [trial for trial in trials if not is_refused(trial) and "overrides" in trial.user_attrs]
    if not trained:
        raise ConfigError([f"{KEY}: {name} must have a complete trial, got none"])
    with closing(Composer(snapshot, space_of(snapshot).fixed)) as composer:
        return [_EarlierTrial(trial, _composed(composer, trial.user_attrs["overrides"])) for trial in trained]


def _composed(composer: Composer, overrides: list[str]) -> RunConfig | str:
    """Compose a trial, or return the reason for which it cannot be composed."""
    try:
        return composer.run_config(overrides)
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        return explain(error) or str(error)


def _used(
    earlier: _EarlierTrial, space: SearchSpace, composer: Composer, known: Known, differing: dict[str, None]
) -> dict[str, Any]:
    """Return the parameters, values and constraints of a trial in the new study.

    Args:
        earlier: The trial.
        space: The new space.
        composer: Composes runs of the new study.
        known: Returns the value of a key that the new study does not search.
        differing: Receives the keys that are not searched and have another value in the new study.

    Raises:
        _LeftOut: The trial cannot be used.
    """
    if isinstance(earlier.config, str):
        raise _LeftOut(earlier.config)
    recorded = to_record(earlier.config)
    point = point_of(recorded, space.keys())
    params, overrides = dict[str, Any](), list[str]()
    for parameter in space.searched_at(point, known):
        if parameter.key not in point:
            raise _LeftOut(f"{parameter.key} has no value there")
        value = point[parameter.key]
        if not contains(parameter.distribution, value):
            raise _LeftOut(f"{parameter.key} is outside its range here")
        params[parameter.name] = value
        overrides.append(f"{parameter.key}={value}")
    config = _composed(composer, overrides)
    if isinstance(config, str):
        raise _LeftOut(config)
    _compare_scores(earlier.config, config)
    below, count = config.budget.parameters_below, earlier.trial.user_attrs.get("parameters", 0)
    if below is not None and count >= below:
        raise _LeftOut(f"its network is not below budget.parameters_below = {below}")
    differing.update(dict.fromkeys(_differing(flat(recorded), flat(to_record(config)))))
    # GP needs the same constraints for all trials.
    constraints = (0 if below is None else count - below + 1, 0)
    return {
        "params": params,
        "values": list(earlier.trial.values),
        "constraints": dict(zip(CONSTRAINTS, constraints, strict=True)),
    }


def _compare_scores(then: RunConfig, now: RunConfig) -> None:
    """Raise _LeftOut unless the scores of two runs have the same meaning."""
    first, second = (_meaning(config) for config in (then, now))
    for key in first | second:
        if first.get(key) != second.get(key):
            raise _LeftOut(f"{key} is {first.get(key)} there and {second.get(key)} here")


def _meaning(config: RunConfig) -> dict[str, Any]:
    """Return what a run's score depends on besides the network and its training."""
    images = {key: value for key, value in to_record(config)["data"].items() if key != "name"}
    return {
        **flat(images, "data."),
        "train.epochs": config.train.epochs,
        "the kind of the scored weights": "averaged" if config.train.average_epochs else "raw",
    }


def _differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the keys of settings that two runs have with different values; the searched ones are equal."""
    keys = [key for key in then if key in now and then[key] != now[key]]
    return [key for key in keys if not key.startswith(IMMATERIAL) and not key.endswith((".name", ".kind"))]


def _line(name: str, used: int, left_out: Counter[str], differing: list[str]) -> str:
    line = f"the sampler learns from {counted(used, 'trial')} of the earlier study {name}"
    if left_out:
        line += f"; {left_out.total()} left out: {_most_common(left_out)}"
    if differing:
        shown = ", ".join(differing[:SHOWN]) + (", …" if len(differing) > SHOWN else "")
        line += f"; {counted(len(differing), 'other setting')} differed there: {shown}"
    return line


def _most_common(reasons: Counter[str]) -> str:
    listed = [f"{count} x {reason}" for reason, count in reasons.most_common(SHOWN)]
    return "; ".join(listed) + ("; …" if len(reasons) > SHOWN else "")
