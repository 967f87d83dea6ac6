"""The results of `python -m benchmarks.coordination` agree with a calculation by hand."""

import math

import optuna
import pytest
from optuna.trial import TrialState

pytest.importorskip("psycopg")

from benchmarks.coordination import Load, MeasuredWorker, Usage, _spec, limits
from benchmarks.studies import EPOCHS, synthetic_study
from mnist_compact.search.bulk import Database
from mnist_compact.search.storage import open_storage
from mnist_compact.search.transfer import export_study, parse, store


def load(*, trained_s=(99.0, 98.0)):
    usages = [
        Usage(trials=3, trained_s=trained_s[0], database_s=0.5, proposals_s=[0.2, 0.3]),
        Usage(trials=1, trained_s=trained_s[1], database_s=0.25, proposals_s=[0.7]),
    ]
    return Load.of(usages, 100.0, worker_cpu_s=2.0, server_cpu_s=1.0)


def test_coordination_is_the_time_outside_trials():
    measured = load()
    assert (measured.workers, measured.trials) == (2, 4)
    assert measured.coordination_share == pytest.approx(1.5)  # 3 of 200 seconds
    assert measured.database_share == pytest.approx(25)  # 0.75 of 3 seconds
    assert measured.proposal_s.median == 0.3
    words = measured.text().split()
    assert words[:4] == ["2", "4", "0.04", "0.30"]  # trials a second, and a proposal
    assert words[-2:] == ["500", "250"]  # ms of CPU a trial, of the workers and of the server


def test_growth_is_the_median_of_the_ratios_of_the_rounds():
    wall = {"100": [1.0, 2.0, 1.0], "1000": [1.0, 1.0, 1.0], "20000": [3.0, 6.0, 5.0]}
    cpu = {"100": [1.0, 1.0, 1.0], "1000": [1.0, 1.0, 1.0], "20000": [4.0, 5.0, 6.0]}
    kept = limits(wall, cpu, load())
    assert [must.value.median for must in kept] == [3.0, 5.0, pytest.approx(1.5)]
    assert [must.kept for must in kept] == [True, False, True]
    assert not limits(wall, cpu, load(trained_s=(99.0, 96.0)))[-1].kept  # 5 of 200 seconds are 2.5 %


def test_only_the_measured_time_counts():
    worker = object.__new__(MeasuredWorker)
    worker.measured = 10.0, 20.0
    intervals = [(0.0, 9.0), (8.0, 11.0), (12.0, 15.0), (19.0, 25.0), (21.0, 22.0), (0.0, 99.0)]
    assert [worker._within(*interval) for interval in intervals] == [0, 1, 3, 1, 0, 10]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # as in a search
def test_measured_worker_stores_a_trial_with_its_epochs(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    database = open_storage(url)
    assert isinstance(database, Database)
    store(parse(export_study(synthetic_study(3), "large")), database, "3")
    worker = MeasuredWorker(_spec(tmp_path, url, "3", "w"), trial_s=0.001)
    worker.measured = 0.0, math.inf
    assert worker.process_trial()
    worker.proposer.composer.close()
    trial = optuna.load_study(study_name="3", storage=database).trials[-1]
    assert trial.state is TrialState.COMPLETE
    assert trial.values == list({*trial.intermediate_values.values()})
    assert list(trial.intermediate_values) == [*range(1, EPOCHS + 1)]
    assert (worker.usage.trials, len(worker.usage.proposals_s)) == (1, 1)
    assert worker.usage.trained_s >= 0.001
    for opened in (database, worker.leases.storage):
        opened.remove_session()
        opened.engine.dispose()
