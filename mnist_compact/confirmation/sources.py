"""Where the configuration to confirm comes from: a run, a trial of a search, a named experiment."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import RECORD
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import RunConfig, to_record
from mnist_compact.records.discovery import DATABASE, EXPORTED, TRIALS
from mnist_compact.records.record import RunRecord
from mnist_compact.search.locate import from_file, storage_of, study_and_number

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial


@dataclass(slots=True, frozen=True)
class ConfirmSource:
    """A configuration, a name for its confirmation, and the seeds that were used to come to it."""

    name: str
    told: str
    run: RunConfig
    used_seeds: set[int]


def of(
    *,
    config: RunConfig | None = None,
    run: str | Path | None = None,
    trial: str | None = None,
    experiment: str | None = None,
    sweeps: Path,
    url: str | None = None,
) -> ConfirmSource:
    """By the one of the first four that is given. Raises ConfigError for none or several, and as the others here."""
    given = [what for what in (config, run, trial, experiment) if what is not None]
    if len(given) != 1:
        raise ConfigError([f"one of config, run, trial and experiment must be given, got {len(given)}"])
    if config is not None:
        told = json.dumps(to_record(config), sort_keys=True)
        name = f"{config.experiment or config.model.name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        return ConfirmSource(name, "a configuration of a program", config, {config.seed})
    if run is not None:
        return of_run(Path(run))
    if experiment is not None:
        return of_experiment(experiment)
    assert trial is not None
    return of_trial(trial, sweeps, url)


def of_run(folder: Path) -> ConfirmSource:
    """Raises RecordError where there is no run, ConfigError for one that cannot be rebuilt."""
    run = from_record(RunRecord.read(folder).config)
    place = folder.resolve()
    name = f"{place.parents[1].name}-{place.name}" if place.parent.name == TRIALS else place.name
    return ConfirmSource(name, f"run {folder}", run, {run.seed} | _used_around(place))


def _used_around(folder: Path) -> set[int]:
    """The seeds that the study of a trial's folder has used; by the trials beside it where it is kept elsewhere."""
    trials = folder.parent
    if trials.name != TRIALS:
        return set()
    if (trials.parent / DATABASE).exists():
        with _opened(trials.parent.name, trials.parent.parent) as study:
            return _used_in(study)
    return {RunRecord.read(record.parent).config["seed"] for record in trials.glob(f"*/{RECORD}")}


def of_experiment(name: str) -> ConfirmSource:
    from mnist_compact.config.composition import compose

    run = compose(f"experiment={name}")
    return ConfirmSource(name, f"experiment {name}", run, {run.seed})


def of_trial(word: str, sweeps: Path, url: str | None = None) -> ConfirmSource:
    """`word` is STUDY:N, the study a name in `sweeps` or in the storage `url`, or an exported file.

    Raises ConfigError for what there is not.
    """
    study, number = study_and_number(word)
    return of_trials(study, [number], sweeps, url)[0]


def best_trials(study: str, top: int, sweeps: Path, url: str | None = None) -> list[ConfirmSource]:
    """The `top` complete trials with the best scores, best first, of those that this program has trained."""
    from mnist_compact.search.summary import best_trained

    with _opened(study, sweeps, url) as found:
        if len(found.directions) > 1:
            raise ConfigError([f"--top needs a study of one objective, {study} has {len(found.directions)}"])
        numbers = [trial.number for trial in best_trained(found)[:top]]
    if not numbers:
        raise ConfigError([f"{study} has no complete trial of this program yet"])
    return of_trials(study, numbers, sweeps, url)


def of_trials(study: str, numbers: list[int], sweeps: Path, url: str | None = None) -> list[ConfirmSource]:
    """Composed out of what the study froze: neither conf/ nor the trials' folders are needed."""
    from mnist_compact.search.builders import space_of
    from mnist_compact.search.migrations import migrate_snapshot
    from mnist_compact.search.snapshot import Composer

    with _opened(study, sweeps, url) as found:
        trials = found.get_trials(deepcopy=False)
        snapshot = found.user_attrs.get("frozen")
        if snapshot is None:
            raise ConfigError([f"{study} is not a study of this program"])
        snapshot = migrate_snapshot(snapshot)
        with closing(Composer(snapshot, [*space_of(snapshot).fixed, *snapshot["machine"]])) as composer:
            used = {composer.run_config([]).seed} | _used_in(found)
            return [
                ConfirmSource(
                    f"{found.study_name}-{number}",
                    f"trial {found.study_name}:{number}",
                    composer.run_config(_overrides(trials, study, number)),
                    used,
                )
                for number in numbers
            ]


def _used_in(study: "Study") -> set[int]:
    return {trial.params["seed"] for trial in study.get_trials(deepcopy=False) if "seed" in trial.params}


def _overrides(trials: list["FrozenTrial"], study: str, number: int) -> list[str]:
    if number >= len(trials):
        raise ConfigError([f"{study} has no trial {number}, but {len(trials)} from 0 on"])
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
