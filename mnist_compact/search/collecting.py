"""Collect the trial folders of a study that other machines have kept on their own disks."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import RECORD
from mnist_compact.common.signals import interrupted_by_signals
from mnist_compact.common.wording import counted
from mnist_compact.records.discovery import TRIALS
from mnist_compact.records.record import RecordError, RunRecord, Status
from mnist_compact.search.counts import is_refused, tally
from mnist_compact.search.create import claim_folder, owner_of
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.proposals import trial_folder

ENDED_AS = {
    TrialState.COMPLETE: {Status.COMPLETED},
    TrialState.PRUNED: {Status.STOPPED},
    TrialState.FAIL: {Status.FAILED, Status.DIVERGED},
}
TEMPORARY = ".collecting."


def collect_trials(study: Study, folder: Path, sources: Sequence[Path]) -> tuple[list[str], bool]:
    """Copy the run folder of each trial that has ended into the study's folder.

    If several machines have worked on a trial, only the run whose record agrees with the study is copied. A folder that
    exists is never changed.

    Args:
        study: The study, which tells how each trial has ended.
        folder: The folder of the study, which is created if it is missing.
        sources: The study's folders of other machines, or copies of them.

    Returns:
        Lines that describe what was copied and what is missing, and whether each complete trial now has its run folder.

    Raises:
        ConfigError: A folder does not belong to the study.
    """
    _check(study, sources)
    claim_folder(folder, _id_of(study))
    (folder / TRIALS).mkdir(exist_ok=True)
    for left in (folder / TRIALS).glob(f"{TEMPORARY}*"):
        shutil.rmtree(left)  # of a process that was killed
    trials = study.get_trials(deepcopy=False)
    objectives = study.user_attrs["frozen"]["settings"]["objectives"]
    copied, present, conflicts, missing = 0, 0, list[str](), list[FrozenTrial]()
    with interrupted_by_signals():
        for trial in trials:
            if trial.state not in ENDED_AS or is_refused(trial) or "overrides" not in trial.user_attrs:
                continue
            target = folder / trial_folder(trial.number)
            found = [
                place / trial_folder(trial.number)
                for place in (folder, *sources)
                if _agrees(trial, place / trial_folder(trial.number), objectives)
            ]
            if target in found:
                present += 1
            elif found and target.exists():
                conflicts.append(f"{target} contains another attempt at the trial whose result is in {found[0]}")
            elif found:
                _copy(found[0], target)
                copied += 1
            elif trial.state is TrialState.COMPLETE:
                missing.append(trial)
    lines = [
        f"study {study.study_name}: {counted(copied, 'run folder')} copied to {folder / TRIALS}; {present:,} existed"
    ]
    lines += [f"{conflict}: move the former away and rerun the command" for conflict in conflicts]
    lines += _missing(missing)
    if running := tally(trials).running:
        lines.append(f"{counted(running, 'trial')} still running: rerun the command when the search has ended")
    return lines, not conflicts and not missing


def _check(study: Study, sources: Sequence[Path]) -> None:
    """Raise ConfigError for all folders that are not of this study."""
    if "frozen" not in study.user_attrs:
        raise ConfigError([f"the study {study.study_name} was not created by this program"])
    faults = [
        f"--from must be a study's folder, which contains {TRIALS}, got {each}"
        for each in sources
        if not _has_trials(each)
    ]
    faults += [
        f"{each} contains trials of another study"
        for each in sources
        if _has_trials(each) and owner_of(each) != _id_of(study)
    ]
    if faults:
        raise ConfigError(faults)


def _has_trials(folder: Path) -> bool:
    return (folder / TRIALS).is_dir()


def _id_of(study: Study) -> str:
    identity: str = study.user_attrs.get("id", "")
    return identity


def _agrees(trial: FrozenTrial, folder: Path, objectives: Sequence[str]) -> bool:
    """Return whether a folder contains the run that gave the trial its result."""
    if not (folder / RECORD).exists():
        return False
    try:
        record = RunRecord.read(folder)
    except RecordError:
        return False
    if record.overrides != trial.user_attrs["overrides"] or record.status not in ENDED_AS[trial.state]:
        return False
    score = record.final
    return trial.state is not TrialState.COMPLETE or (
        score is not None and trial.values == [OBJECTIVES[name].of(score, record.network) for name in objectives]
    )


def _copy(source: Path, target: Path) -> None:
    """Copy a folder completely or not at all. Links are copied as links."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=target.parent) as temporary:
        copy = Path(temporary) / target.name
        shutil.copytree(source, copy, symlinks=True)
        os.rename(copy, target)


def _missing(trials: Sequence[FrozenTrial]) -> list[str]:
    """Name the trials without a run folder, by the machine that trained them."""
    by_host: dict[str, list[int]] = {}
    for trial in trials:
        by_host.setdefault(trial.user_attrs.get("lease", {}).get("host", "an unknown machine"), []).append(trial.number)
    return [
        f"{counted(len(numbers), 'complete trial')} of {host} without a run folder: {', '.join(map(str, numbers))}"
        for host, numbers in sorted(by_host.items())
    ]
