"""The specification of one worker, which the coordinator passes to the worker's process in a file."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mnist_compact.search.stopping import StoppingCriteria
from mnist_compact.training.config import MachineConfig


@dataclass(slots=True, frozen=True)
class WorkerSpec:
    folder: str  # the study's folder
    url: str  # the storage's URL
    study_name: str
    worker: str  # the worker's name
    private: bool  # whether only this machine uses the study
    machine: MachineConfig  # computes all trials of this worker
    parent: int | None  # process id of the process that started the worker, which it does not outlive; None: any
    remote: bool  # whether a cluster runs the worker, which then watches the coordinator's heartbeat
    parent_name: str  # name of the coordinator; unique, unlike the process id, also after a restart of the machine
    settings: StoppingCriteria

    def write(self, path: Path) -> None:
        """Write a new file that only this user can read at any moment, because a URL may contain a password."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)

    @classmethod
    def read(cls, path: Path) -> "WorkerSpec":
        raw = json.loads(path.read_text(encoding="utf-8"))
        parts = {"settings": StoppingCriteria(**raw["settings"]), "machine": MachineConfig(**raw["machine"])}
        return cls(**{**raw, **parts})
