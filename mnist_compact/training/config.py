"""How long, on which machine and within which limits a network is trained. Torch-free."""

from dataclasses import dataclass
from enum import Enum

from mnist_compact.common.errors import ConfigError, OverBudgetError, Validator


class Precision(Enum):
    float32 = "float32"
    bfloat16 = "bfloat16"  # autocast: convolutions and the head in bfloat16, weights and the loss in float32


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    name: str  # of the option, as typed
    epochs: int  # passes over the training images, at least 1
    batch_size: int  # images in a step, at least 2
    label_smoothing: float = 0.0  # part of the target spread over all ten classes, in [0, 1); 0 = off
    average_epochs: int = 0  # over so many last epochs an average of the weights is kept and scored too; 0 = off
    average_decay: float = 0.998  # of that exponential moving average, per step, in (0, 1)
    precision: Precision = Precision.float32  # number format of the forward pass

    def __post_init__(self) -> None:
        validator = Validator("train")
        validator.check(self.epochs >= 1, "epochs", "must be at least 1", self.epochs)
        validator.check(self.batch_size >= 2, "batch_size", "must be at least 2", self.batch_size)
        validator.check(0 <= self.label_smoothing < 1, "label_smoothing", "must be in [0, 1)", self.label_smoothing)
        validator.check(self.average_epochs >= 0, "average_epochs", "must be at least 0", self.average_epochs)
        validator.check(0 < self.average_decay < 1, "average_decay", "must be in (0, 1)", self.average_decay)
        validator.raise_if_any()


@dataclass(kw_only=True, slots=True)
class MachineConfig:
    """What a run is computed on: nothing that a configuration is told apart by."""

    name: str  # of the option, as typed
    device: str = "auto"  # cpu, cuda, cuda:1, mps; auto = a GPU if there is one
    threads: int = 0  # of the CPU; 0 = torch's own number, as OMP_NUM_THREADS or taskset have it
    data_root: str | None = None  # folder of the images; null = environment variable or the user's cache folder

    def __post_init__(self) -> None:
        validator = Validator("machine")
        validator.check(0 <= self.threads <= 1024, "threads", "must be in [0, 1024]", self.threads)
        rule = "must be a folder, or null for the default"
        validator.check(self.data_root != "", "data_root", rule, self.data_root)
        validator.raise_if_any()


@dataclass(kw_only=True, slots=True)
class BudgetConfig:
    """The limits of the question that is asked; null = no limit."""

    name: str  # of the option, as typed
    parameters_below: int | None = None  # at least 1; every learned or frozen weight counts; null = no limit
    max_epochs: int | None = None  # at least 1; null = no limit

    def __post_init__(self) -> None:
        validator = Validator("budget")
        for key in ("parameters_below", "max_epochs"):
            limit = getattr(self, key)
            validator.check(limit is None or limit >= 1, key, "must be at least 1 or null", limit)
        validator.raise_if_any()

    def check(self, *, parameters: int, epochs: int) -> None:
        """Raises ConfigError for a run that is over the budget, and OverBudgetError for too many parameters."""
        below, faults = self.parameters_below, []
        if below is not None and parameters >= below:
            faults.append(
                f"budget.parameters_below must exceed the network's parameters, got {below:,} for {parameters:,} "
                "(budget=none lifts it)"
            )
        if self.max_epochs is not None and epochs > self.max_epochs:
            faults.append(f"train.epochs must be at most budget.max_epochs = {self.max_epochs}, got {epochs}")
        if below is not None and parameters >= below:
            raise OverBudgetError(faults, parameters=parameters, below=below)
        if faults:
            raise ConfigError(faults)


TRAINS: dict[str, type[TrainConfig]] = {"train": TrainConfig}
MACHINES: dict[str, type[MachineConfig]] = {"machine": MachineConfig}
BUDGETS: dict[str, type[BudgetConfig]] = {"budget": BudgetConfig}
