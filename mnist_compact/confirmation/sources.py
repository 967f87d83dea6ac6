"""Sources of the configuration to confirm: a run, a trial of a search, a named experiment, a Python object."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import RECORD
from mnist_compact.common.wording import counted
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import RunConfig, to_record
from mnist_compact.data.config import DataConfig
from mnist_compact.records.discovery import DATABASE, EXPORTED, TRIALS
from mnist_compact.records.record import RunRecord
from mnist_compact.search.locate import from_file, storage_of, study_and_number

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial


@dataclass(slots=True, frozen=True)
class ConfirmSource:
    """A configuration to confirm and where it comes from.

    Attributes:
        name: Name of the confirmation.
        description: Where the configuration comes from.
        run: The configuration.
        used_seeds: Seeds that were used to choose the configuration.
        trial: The trial as STUDY:N, with STUDY as it was given; None if the configuration is not that of a trial.
    """

    name: str
    description: str
    run: RunConfig
    used_seeds: set[int]
    trial: str | None = None


def of(
    *,
    config: RunConfig | None = None,
    run: str | Path | None = None,
    trial: str | None = None,
    experiment: str | None = None,
    sweeps: Path,
    url: str | None = None,
) -> ConfirmSource:
    """Find the configuration to confirm.

    Args:
        config: The configuration. Exactly one of `config`, `run`, `trial` and `experiment` must be given.
        run: A run folder.
        trial: A trial as "STUDY:N".
        experiment: Name of a file in `conf/experiment`.
        sweeps: Folder of all studies.
        url: Optuna URL of the study, or journal:///path.

    Raises:
        ConfigError: None or several of the four are given, or the source does not exist.
        RecordError: `run` holds no run.
    """
    given = [source for source in (config, run, trial, experiment) if source is not None]
    if len(given) != 1:
        raise ConfigError([f"exactly one of config, run, trial and experiment must be given, got {len(given)}"])
    if config is not None:
        text = json.dumps(to_record(config), sort_keys=True)
        name = f"{config.experiment or config.model.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        return ConfirmSource(name, "a configuration passed from Python", config, {config.seed})
    if run is not None:
        return of_run(Path(run))
    if experiment is not None:
        return of_experiment(experiment)
    assert trial is not None
    return of_trial(trial, sweeps, url)


def of_run(folder: Path) -> ConfirmSource:
    """Return the configuration of a run folder.

    Raises:
        RecordError: The folder holds no run.
        ConfigError: The configuration cannot be rebuilt.
    """
    run = from_record(RunRecord.read(folder).config)
    path = folder.resolve()
    name = f"{path.parents[1].name}-{path.name}" if path.parent.name == TRIALS else path.name
    return ConfirmSource(name, f"run {folder}", run, {run.seed} | _seeds_of_study_around(path))


def _seeds_of_study_around(folder: Path) -> set[int]:
    """Return the seeds that the study of a trial folder used, from its database or from the other trial folders."""
    trials = folder.parent
    if trials.name != TRIALS:
        return set()
    if (trials.parent / DATABASE).exists():
        with _opened(trials.parent.name, trials.parent.parent) as study:
            return _used_in(study)
    return {RunRecord.read(record.parent).config["seed"] for record in trials.glob(f"*/{RECORD}")}


def of_experiment(name: str) -> ConfirmSource:
    """Return the configuration of a named experiment.

    Raises:
        ConfigError: There is no experiment with this name.
    """
    from mnist_compact.config.composition import compose

    run = compose(f"experiment={name}")
    return ConfirmSource(name, f"experiment {name}", run, {run.seed})


def of_trial(word: str, sweeps: Path, url: str | None = None) -> ConfirmSource:
    """Return the configuration of a trial.

    Args:
        word: STUDY:N. STUDY is a name in `sweeps` or in the storage `url`, or the path of an exported study.
        sweeps: Folder of all studies.
        url: Optuna URL of the study, or journal:///path.

    Raises:
        ConfigError: The study or the trial does not exist, or the trial was never trained.
    """
    study, number = study_and_number(word)
    return of_trials(study, [number], sweeps, url)[0]


def best_trials(studies: Sequence[str], top: int, sweeps: Path, url: str | None = None) -> list[ConfirmSource]:
    """Return the configurations of the `top` complete trials of all studies with the best scores, best first.

    Raises:
        ConfigError: A study does not exist, has several objectives or no complete trial; the studies differ in their
            objectives or images; or two of them have the same name.
    """
    from optuna.study import StudyDirection

    from mnist_compact.search.summary import best_trained, objectives

    found: list[tuple[float, ConfirmSource]] = []
    names: set[str] = set()
    objective: dict[str, list[str]] = {}
    data: dict[str, DataConfig] = {}
    for study in studies:
        with _opened(study, sweeps, url) as opened:
            if opened.study_name in names:
                raise ConfigError([f"--study must name each study once, got {opened.study_name} twice"])
            names.add(opened.study_name)
            objective[study] = objectives(opened)
            if len(opened.directions) > 1:
                raise ConfigError([f"--top requires a study with one objective; {study} has {len(opened.directions)}"])
            best = best_trained(opened)[:top]
            sign = -1 if opened.direction is StudyDirection.MAXIMIZE else 1
        if not best:
            raise ConfigError([f"{study} has no complete trial that this program trained"])
        configured = of_trials(study, [trial.number for trial in best], sweeps, url)
        data[study] = configured[0].run.data
        found += zip([sign * trial.values[0] for trial in best], configured, strict=True)
    _check_equal(objective, "objective")
    _check_equal(data, "data")
    found.sort(key=lambda scored: scored[0])  # the first study precedes if scores are equal
    return [source for _, source in found[:top]]


def _check_equal(values: Mapping[str, Any], what: str) -> None:
    """Check that all studies, the keys of `values`, have the same value."""
    first, *others = values
    for study in others:
        if values[study] != values[first]:
            raise ConfigError([f"--study requires studies with the same {what}: that of {study} differs from {first}"])


def of_trials(study: str, numbers: list[int], sweeps: Path, url: str | None = None) -> list[ConfirmSource]:
    """Return the configurations of trials, composed from the study's own snapshot of conf/.

    Raises:
        ConfigError: The study or a trial does not exist, or a trial was never trained.
    """
    from mnist_compact.search.builders import space_of
    from mnist_compact.search.migrations import migrate_snapshot
    from mnist_compact.search.snapshot import Composer

    with _opened(study, sweeps, url) as opened:
        trials = opened.get_trials(deepcopy=False)
        snapshot = opened.user_attrs.get("frozen")
        if snapshot is None:
            raise ConfigError([f"{study} was not created by this program"])
        snapshot = migrate_snapshot(snapshot)
        with closing(Composer(snapshot, [*space_of(snapshot).fixed, *snapshot["machine"]])) as composer:
            used = {composer.run_config([]).seed} | _used_in(opened)
            return [
                ConfirmSource(
                    f"{opened.study_name}-{number}",
                    f"trial {opened.study_name}:{number}",
                    composer.run_config(_overrides(trials, study, number)),
                    used,
                    f"{study}:{number}",
                )
                for number in numbers
            ]


def _used_in(study: "Study") -> set[int]:
    return {trial.params["seed"] for trial in study.get_trials(deepcopy=False) if "seed" in trial.params}


def _overrides(trials: list["FrozenTrial"], study: str, number: int) -> list[str]:
    if number >= len(trials):
        raise ConfigError([f"{study} has no trial {number}; it has {counted(len(trials), 'trial')}, numbered from 0"])
    overrides: list[str] | None = trials[number].user_attrs.get("overrides")
    if overrides is None:
        raise ConfigError([f"trial {number} of {study} was never trained"])
    return overrides


@contextmanager
def _opened(study: str, sweeps: Path, url: str | None = None) -> Iterator["Study"]:
    from mnist_compact.search.transfer import load

    if study.endswith(EXPORTED):
        yield from_file(Path(study))
        return
    with storage_of(study, sweeps, url) as storage:
        yield load(storage, study)
