"""The worker specification that tests of worker pools share."""

from mnist_compact.search.stopping import StoppingCriteria
from mnist_compact.search.worker_spec import WorkerSpec
from mnist_compact.training.config import MachineConfig

LIMITS = {"n_trials": 1, "target": None, "target_trials": 1, "max_failures": 1, "max_refusals": 1}


def spec_of_pool(folder, coordinator, *, private):
    """What all workers of a coordinator have in common, for a study on a server."""
    return WorkerSpec(
        folder=str(folder),
        url="postgresql://ada:secret@host",
        study_name="s",
        worker="",
        private=private,
        machine=MachineConfig(name="auto"),
        parent=None,
        remote=False,
        parent_name=coordinator,
        settings=StoppingCriteria(**LIMITS, maximize=True),
    )
