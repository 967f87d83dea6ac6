"""A Slurm of its own for a test: munged, slurmctld and slurmd on this machine, with all files in one folder.

The daemons listen on 127.0.0.1. They run as the user of the test.
"""

import getpass
import os
import shutil
import socket
import subprocess
from contextlib import ExitStack, closing

from processes import wait_for

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs={places} RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """The programs that are not installed."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


class RealSlurm:
    """A cluster of one node with so many CPUs, whatever this machine has. Its commands need `environment`."""

    def __init__(self, folder, places):
        self.folder, self.environment = folder, {"SLURM_CONF": f"{folder}/slurm.conf"}
        self.daemons = ExitStack()
        for name in ("state", "spool"):
            (folder / name).mkdir()
        controller_port, node_port = _free_ports(2)
        values = {"host": socket.gethostname(), "user": getpass.getuser(), "folder": folder, "places": places}
        conf = CONF.format(**values, controller_port=controller_port, node_port=node_port)
        (folder / "slurm.conf").write_text(conf)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        munge_files = [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
        socket_file = folder / "munge.socket"
        # --force: the folder of a test is in one to which all users may write.
        self._start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket_file}", *munge_files)
        wait_for(socket_file.exists)
        self._start("slurmctld", "-D", "-i")
        self._start("slurmd", "-D", "-N", "node")
        wait_for(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T"))

    def _start(self, *command):
        program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
        with open(self.folder / f"{command[0]}.out", "wb") as log:
            process = subprocess.Popen([program, *command[1:]], env=self._env(), stdout=log, stderr=log)
        self.daemons.callback(process.wait)
        self.daemons.callback(process.terminate)

    def _env(self):
        return {**os.environ, **self.environment}

    def run(self, *command):
        """Run one of Slurm's commands; return its output, which is empty while the controller does not respond."""
        return subprocess.run(command, env=self._env(), capture_output=True, text=True, timeout=120).stdout

    def tasks(self):
        """Task → state, of all tasks that Slurm has not forgotten."""
        lines = self.run("squeue", "--noheader", "--array", "--states=all", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def close(self):
        """Kill what a failed test has left, and end the daemons."""
        self.run("scancel", "--signal=KILL", "--full", "--user", str(os.getuid()))
        self.run("scancel", "--user", str(os.getuid()))
        wait_for(lambda: not self.run("squeue", "--noheader"))
        self.daemons.close()


def _free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]
