"""A search on two nodes that share a PostgreSQL server, while everything it consists of dies at random moments."""

import contextlib
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from optuna.trial import TrialState
from processes import kill, wait_for
from test_killed_searches import name_machines, start, workers_of
from test_postgresql import BINARIES, Server, trials_of, words

from mnist_compact.search.collecting import collect_trials
from mnist_compact.search.counts import is_refused, tally
from mnist_compact.search.locate import studies_at

pytestmark = [
    pytest.mark.process,
    pytest.mark.soak,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system"),
    pytest.mark.skipif(BINARIES is None, reason="no PostgreSQL server is installed (Debian's package postgresql)"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # as in test_postgresql
]
TRIALS = 204
FAULTS = {"worker": 3, "node": 2, "coordinator": 1, "network": 1, "restart": 1, "failover": 1, "full disk": 1}
DISK_MB = 400  # for the server's data, and for a copy of them
PATIENCE_S = 3 * 3600  # for all trials


class Proxy:
    """A network: connections to a port of 127.0.0.1 reach the server's socket until they are dropped.

    While `has_power` is false, the server is not told of connections that end, as if a machine had lost its power.
    """

    def __init__(self, socket_path):
        self.path, self.is_up, self.has_power, self.connections = str(socket_path), True, True, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self.listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    if not self.is_up:
                        raise ConnectionError
                    server.connect(self.path)
                except OSError:
                    client.close()
                    server.close()
                    continue
                self.connections += [client, server]
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()
                threading.Thread(target=_forward, args=(server, client), daemon=True).start()

    def _serve(self, client, server):
        _forward(client, server, lambda: self.has_power)

    def drop(self, seconds):
        """Drop all connections, and accept none for a while."""
        self.is_up = False
        self._close_connections()
        time.sleep(seconds)
        self.is_up = True

    def _close_connections(self):
        for each in self.connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.connections = []

    def close(self):
        self.listener.close()
        self._close_connections()


def _forward(source, target, tells_end=lambda: True):
    with contextlib.suppress(OSError):  # also of a process that was killed before it had read all
        while content := source.recv(65536):
            target.sendall(content)
    if tells_end():
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


class Node:
    """A machine with a disk of its own: a search and its two workers. The search is started again when it has died."""

    def __init__(self, folder, url):
        self.folder, self.url, self.starts = folder, url, 0
        folder.mkdir()
        self.log = (folder / "log.txt").open("ab")
        path = f"{folder.parent}:{os.environ.get('PYTHONPATH', '')}"
        self.env = {**os.environ, "MACHINE": folder.name, "PYTHONPATH": path}
        self.start()

    def start(self):
        self.starts += 1
        fast = ("train.epochs=1", "budget=none", "hydra/sweeper/sampler=random", "hydra.sweeper.max_failures=100")
        settings = {"images": 64, "trials": TRIALS, "env": self.env, "stdout": self.log}
        self.search = start(self.folder, words(self.url), *fast, **settings)

    def has_ended(self):
        """Return whether the search of this node has reached its total; start it again if it has died."""
        if self.search.poll() is None:
            return False
        if self.search.returncode == 0:
            return True
        self.start()
        return False

    def close(self):
        kill([self.search.pid, *workers_of(self.folder)])
        self.search.wait()
        self.log.close()


@contextlib.contextmanager
def small_disk():
    """Mount a file system in memory on a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@pytest.fixture
def cluster(tmp_path):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(small_disk())
        server = Server(folder)
        stack.callback(lambda: server.stop())
        url = server.new_database("soak")
        proxy = stack.enter_context(closing(Proxy(folder / ".s.PGSQL.5432")))
        name_machines(tmp_path)
        remote = f"postgresql://ada@127.0.0.1:{proxy.port}/soak"
        nodes = [stack.enter_context(closing(Node(tmp_path / name, remote))) for name in ("a", "b")]
        yield server, url, proxy, nodes


def fail_over(server):
    """Stop the server, and start another one from a copy of its data."""
    server.stop()
    copy = server.folder / "copy"
    subprocess.run([*server.as_other, "cp", "-a", server.folder / "data", copy], cwd="/", check=True)
    shutil.rmtree(server.folder / "data")
    copy.rename(server.folder / "data")
    server.start()


def fill_disk(server, nodes):
    """Leave the server's disk full until a search has ended because of it."""
    filler = server.folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    wait_for(lambda: any(node.search.poll() for node in nodes), PATIENCE_S)
    filler.unlink()
    with contextlib.suppress(subprocess.CalledProcessError):  # it still runs if only data files could not grow
        server.start()


def inject(fault, server, proxy, nodes, generator):
    """Let something die. Returns whether something did: the processes may just have ended."""
    node = generator.choice(nodes)
    if fault == "worker":
        return bool(kill(workers_of(node.folder)[:1]))
    if fault == "node":
        proxy.has_power = False
        killed = kill(workers_of(node.folder))
        time.sleep(1)
        proxy.has_power = True
        return killed == 2
    if fault == "coordinator":
        node.search.kill()
        return True
    if fault == "network":
        proxy.drop(generator.uniform(0, 5))
    elif fault == "restart":
        server.stop()
        time.sleep(generator.uniform(0, 5))
        server.start()
    elif fault == "full disk":
        fill_disk(server, nodes)
    else:
        fail_over(server)
    return True


def at_work(url):
    """The number of trials that a worker is training."""
    return sum(trial.state is TrialState.RUNNING and "overrides" in trial.user_attrs for trial in trials_of(url))


def test_random_faults_lose_no_trial_and_count_none_twice(cluster, tmp_path):
    server, url, proxy, nodes = cluster
    generator, began = random.Random(1), time.monotonic()
    faults = [fault for fault, count in FAULTS.items() for _ in range(count)]
    generator.shuffle(faults)
    happened, gap = Counter(), TRIALS // (len(faults) + 2)
    for number, fault in enumerate(faults, 1):
        wait_for(lambda least=number * gap: progressed(nodes, url, least), PATIENCE_S)
        wait_for(lambda f=fault: inject_at_work(f, server, url, proxy, nodes, generator), PATIENCE_S)
        happened[fault] += 1
        print(f"{time.monotonic() - began:.0f} s: {fault}, {tally(trials_of(url))}", flush=True)
    for node in nodes:
        wait_for(node.has_ended, PATIENCE_S)
    print(f"{time.monotonic() - began:.0f} s: {dict(happened)}, starts: {[node.starts for node in nodes]}")
    assert happened == FAULTS
    check(url, nodes, tmp_path / "home")


def progressed(nodes, url, least):
    time.sleep(2)  # reading the trials takes time from the workers
    for node in nodes:
        node.has_ended()
    return tally(trials_of(url)).ended >= least


def inject_at_work(fault, server, url, proxy, nodes, generator):
    for node in nodes:
        node.has_ended()
    if not at_work(url):
        return False
    time.sleep(generator.uniform(0, 1))
    return inject(fault, server, proxy, nodes, generator)


def check(url, nodes, home):
    """Exactly TRIALS trials count, no point twice, and each complete trial has one run folder on one of the nodes."""
    trials = trials_of(url)
    counted = tally(trials)
    print(counted)
    assert (counted.ended, counted.running) == (TRIALS, 0)
    trained = [trial for trial in trials if not is_refused(trial) and trial.state is not TrialState.WAITING]
    points = [tuple(sorted(trial.params.items())) for trial in trained]
    assert len(set(points)) == len(points) == TRIALS
    reasons = [trial.user_attrs.get("reason") for trial in trained if trial.state is TrialState.FAIL]
    assert all(re.match(r"its worker died \d times before an epoch was complete", reason) for reason in reasons)
    with studies_at(url) as (study,):
        lines, complete = collect_trials(study, home, [node.folder / "outputs/sweeps/smoke" for node in nodes])
    print(*lines, sep="\n")
    assert complete
    ended = [trial for trial in trained if trial.state is not TrialState.FAIL]
    assert {path.name for path in (home / "trials").iterdir()} >= {f"{trial.number:04d}" for trial in ended}
