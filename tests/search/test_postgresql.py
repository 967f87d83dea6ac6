"""A study on a real PostgreSQL server that the tests start: shared by searches, locked and temporarily stopped."""

import gc
import os
import shutil
import subprocess
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread

import pytest
from optuna.storages._rdb.models import StudyModel
from optuna.study import StudyDirection
from optuna.trial import TrialState
from processes import PATIENCE_S, kill, wait_for
from sqlalchemy import select
from test_killed_searches import finish, start, workers_of

from mnist_compact.search import storage
from mnist_compact.search.counts import tally
from mnist_compact.search.locate import studies_at
from mnist_compact.search.storage import open_storage

psycopg = pytest.importorskip("psycopg")
BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(BINARIES is None, reason="no PostgreSQL server is installed (Debian's package postgresql)"),
    # Optuna leaves the connection of a failed attempt to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Server:
    """A PostgreSQL server that listens only on a socket in its folder. It refuses to run as root."""

    def __init__(self, folder):
        self.folder, self.as_other = folder, ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.as_other:
            shutil.chown(folder, "postgres")
        self._run("initdb", "--auth=trust", "--username=ada", "--no-sync", "--pgdata", f"{folder}/data")
        self.start()

    def _run(self, program, *words):
        subprocess.run([*self.as_other, BINARIES / program, *words], cwd="/", stdout=subprocess.DEVNULL, check=True)

    def start(self):
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self._run("pg_ctl", "start", "-w", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-o", options)

    def stop(self):
        self._run("pg_ctl", "stop", "-w", "-D", f"{self.folder}/data", "-m", "immediate")

    def new_database(self, name):
        with self.connect("postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql:///{name}?host={self.folder}&user=ada"

    def connect(self, database, **settings):
        return psycopg.connect(host=self.folder, user="ada", dbname=database, **settings)


@pytest.fixture(scope="module")
def server():
    with tempfile.TemporaryDirectory(prefix="pg") as folder:  # the path of a socket must be short
        made = Server(folder)
        yield made
        made.stop()


def words(url):
    return f'hydra.sweeper.storage="{url}"'


def trials_of(url):
    """The trials, none before the study is created. Closes its connection, of which a server allows 100."""
    with studies_at(url) as studies:
        return [trial for study in studies for trial in study.get_trials(deepcopy=False)]


def running(url):
    return [trial for trial in trials_of(url) if trial.state is TrialState.RUNNING and trial.intermediate_values]


def check_exact(folder, url, total):
    trials = trials_of(url)
    counted = tally(trials)
    assert (counted.complete, counted.failed, counted.running) == (total, 0, 0)
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert len({tuple(sorted(trial.params.items())) for trial in complete}) == total
    folders = {path.name for path in (folder / "outputs/sweeps/smoke/trials").iterdir()}
    assert folders == {f"{trial.number:04d}" for trial in complete}


def test_machines_that_start_at_once_create_one_set_of_tables(server):
    url, opened = server.new_database("rivals"), []

    def create():
        opened.append(open_storage(url))

    rivals = [Thread(target=create) for _ in range(3)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    assert len(opened) == 3
    assert not opened[0].get_all_studies()
    assert [each.engine.pool.checkedin() for each in opened] == [1, 1, 1], "a server allows few connections"
    for each in opened:
        dispose(each)
    gc.collect()  # within this test, which ignores its warnings


def dispose(opened):
    opened.remove_session()
    opened.engine.dispose()


@contextmanager
def closing_storage(url):
    opened = open_storage(url)
    try:
        yield opened
    finally:
        dispose(opened)


def test_a_machine_that_dies_in_a_transaction_does_not_lock_the_study_for_long(server, monkeypatch):
    monkeypatch.setattr(storage, "SILENT_S", 3)
    url = server.new_database("dead")
    with closing_storage(url) as dead, closing_storage(f"{url}&options=-clock_timeout%3D20s") as alive:
        study = dead.create_new_study([StudyDirection.MAXIMIZE], "smoke")
        connection = dead.engine.connect()  # never used again, as after a power failure
        connection.execute(select(StudyModel).where(StudyModel.study_id == study).with_for_update())
        assert alive.get_trial(alive.create_new_trial(study)).number == 0
        connection.invalidate()
        connection.close()


def test_limits_of_silent_connections_can_be_set_in_the_url(server):
    with closing_storage(f"{server.new_database('limits')}&connect_timeout=7") as opened:
        raw = opened.engine.raw_connection()
        parameters = raw.driver_connection.info.get_parameters()
        shown = raw.driver_connection.execute("SHOW idle_in_transaction_session_timeout").fetchone()
        raw.close()
    assert (parameters["connect_timeout"], parameters["tcp_user_timeout"], shown) == ("7", "60000", ("1min",))


@pytest.mark.slow
def test_two_searches_share_a_total_after_kills_and_locks(server, tmp_path):
    url, line = server.new_database("shared"), {"images": 2048, "trials": 5}
    searches = [start(tmp_path, words(url), **line) for _ in range(2)]
    wait_for(lambda: running(url), seconds=2 * PATIENCE_S)
    assert kill(workers_of(tmp_path)[:1]) == 1
    with closing(server.connect("shared")) as other:
        other.execute("LOCK TABLE trials IN ACCESS EXCLUSIVE MODE")
        wait_for(lambda: waiting_for_locks(server))
        assert all(search.poll() is None for search in searches)
    outputs = [finish(search) for search in searches]
    assert all("all 5 trials have ended: 5 complete, 0 pruned, 0 failed, 0 running" in output for output in outputs)
    assert sum("ended by signal 9" in output for output in outputs) == 1
    check_exact(tmp_path, url, 5)


def waiting_for_locks(server):
    with server.connect("postgres") as connection:
        return connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0]


@pytest.mark.slow
def test_lost_server_ends_the_search_with_a_message_and_loses_nothing(server, tmp_path):
    url, line = server.new_database("gone"), {"images": 2048, "trials": 2}
    search = start(tmp_path, words(url), **line)
    wait_for(lambda: running(url) or search.poll() is not None, seconds=2 * PATIENCE_S)
    server.stop()
    try:
        output = finish(search)
        assert search.returncode == 1, output
        assert "Traceback" not in output
        assert "the study's storage fails (" in output.splitlines()[-1]
        assert output.endswith("when it works again, rerun the command to continue\n")
        assert not workers_of(tmp_path)
        refused = start(tmp_path / "outputs", words(url), **line)
        assert "hydra.sweeper.storage cannot be opened, got postgresql:///gone" in finish(refused)
        assert (refused.returncode, [path.name for path in (tmp_path / "outputs").iterdir()]) == (2, ["sweeps"])
    finally:
        server.start()
    assert "all 2 trials have ended: 2 complete" in finish(start(tmp_path, words(url), **line))
    check_exact(tmp_path, url, 2)
