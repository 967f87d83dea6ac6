"""A temporary PostgreSQL server on 127.0.0.1 for benchmarks."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
CONNECTIONS = 1200  # the default of 100 allows too few workers
USER = "ada"


@dataclass(slots=True, frozen=True)
class Server:
    url: str  # of its only database
    pid: int

    def cpu_s(self) -> float:
        """Return the CPU seconds of the server and its connections so far (Linux only)."""
        while True:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            with suppress(FileNotFoundError, ProcessLookupError):  # a connection has just ended: list them again
                return cpu_of([*map(int, children), self.pid])


@contextmanager
def postgresql_server(folder: Path) -> Iterator[Server]:
    """Start a server with its default settings, except for the number of connections, and stop it at the end.

    PostgreSQL refuses to run as root. For root it runs as the user `postgres`, who must be able to reach the folder.

    Args:
        folder: An empty folder for its data.

    Yields:
        The server.
    """
    if BINARIES is None:
        raise SystemExit("no PostgreSQL server is installed (Debian's package postgresql)")
    as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_other:
        shutil.chown(folder, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def run(program: str, *words: str) -> None:
        subprocess.run([*as_other, f"{BINARIES}/{program}", *words], cwd="/", stdout=subprocess.DEVNULL, check=True)

    data = f"{folder}/data"
    run("initdb", "--auth=trust", f"--username={USER}", "--no-sync", "--pgdata", data)
    options = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c max_connections={CONNECTIONS}"
    run("pg_ctl", "start", "-w", "-D", data, "-l", f"{folder}/log", "-o", options)
    try:
        pid = int(Path(data, "postmaster.pid").read_text().split()[0])
        yield Server(f"postgresql://{USER}@127.0.0.1:{port}/postgres", pid)
    finally:
        run("pg_ctl", "stop", "-w", "-D", data, "-m", "immediate")


def cpu_of(pids: Iterable[int]) -> float:
    """Return the CPU seconds of processes, and of their children that have ended (Linux only)."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # user and system time, of itself and of its ended children
    return ticks / os.sysconf("SC_CLK_TCK")
