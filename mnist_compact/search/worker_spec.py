"""The specification of one worker, which the coordinator passes to the worker's process in a file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mnist_compact.search.stopping import StoppingCriteria
from mnist_compact.training.config import MachineConfig


@dataclass(slots=True, frozen=True)
class WorkerSpec:
    folder: str
    url: str
    study_name: str
    worker: str
    private: bool
    machine: MachineConfig  # computes all trials of this worker
    parent: int  # process id of the coordinator; a worker does not outlive it
    parent_name: str  # unique, unlike the process id, also after a restart of the machine
    settings: StoppingCriteria

    def write(self, path: Path) -> None:
        path.touch()
        path.chmod(0o600)  # a URL may contain a password
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "WorkerSpec":
        raw = json.loads(path.read_text(encoding="utf-8"))
        parts = {"settings": StoppingCriteria(**raw["settings"]), "machine": MachineConfig(**raw["machine"])}
        return cls(**{**raw, **parts})
