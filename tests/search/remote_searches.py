"""What tests of searches whose workers a cluster runs have in common: a journal file as storage, and its trials."""

from optuna.trial import TrialState
from test_killed_searches import trials_of


def url_in(folder):
    return f"journal://{folder}/study.log"


def running(folder):
    """The running trials that have finished an epoch."""
    if not (folder / "outputs/sweeps/smoke/workers").exists():
        return []
    trials = trials_of(folder, url=url_in(folder))
    return [trial for trial in trials if trial.state is TrialState.RUNNING and trial.intermediate_values]
