"""Options for training, the machine and the budget. This module does not import torch."""

from dataclasses import dataclass
from enum import Enum

from mnist_compact.common.errors import ConfigError, OverBudgetError, Validator


class Precision(Enum):
    """Precision of the forward and backward pass in training. Evaluation always uses float32."""

    float32 = "float32"
    bfloat16 = "bfloat16"  # convolutions and activations in bfloat16; norms compute in float32, as do head and loss


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """How long and how a network is trained."""

    name: str  # name of the option, as typed
    epochs: int  # passes over the training images, at least 1
    batch_size: int  # images per step, at least 2
    label_smoothing: float = 0.0  # fraction of the target that is spread over all ten classes, in [0, 1); 0 = off
    average_epochs: int = 0  # last epochs in which averaged weights are kept and scored, at least 0; 0 = off
    average_decay: float = 0.998  # decay of the exponential moving average of the weights per step, in (0, 1)
    precision: Precision = Precision.float32  # precision of the forward and backward pass

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
    """The machine that computes a run. It is not part of what distinguishes configurations."""

    name: str  # name of the option, as typed
    device: str = "auto"  # cpu, cuda, cuda:1 or mps; auto = a GPU if there is one, otherwise the CPU
    threads: int = 0  # CPU threads, in [0, 1024]; 0 = torch's default, which respects OMP_NUM_THREADS and taskset
    data_root: str | None = None  # folder of the images; null = MNIST_COMPACT_DATA, or the user's cache folder

    def __post_init__(self) -> None:
        validator = Validator("machine")
        validator.check(0 <= self.threads <= 1024, "threads", "must be in [0, 1024]", self.threads)
        rule = "must be a folder, or null for the default"
        validator.check(self.data_root != "", "data_root", rule, self.data_root)
        validator.raise_if_any()


@dataclass(kw_only=True, slots=True)
class BudgetConfig:
    """Limits of a run. A run that exceeds them is refused."""

    name: str  # name of the option, as typed
    parameters_below: int | None = None  # trainable and frozen weights must be fewer than this; null = no limit
    max_epochs: int | None = None  # largest number of epochs, at least 1; null = no limit

    def __post_init__(self) -> None:
        validator = Validator("budget")
        for key in ("parameters_below", "max_epochs"):
            limit = getattr(self, key)
            validator.check(limit is None or limit >= 1, key, "must be at least 1 or null", limit)
        validator.raise_if_any()

    def check(self, *, parameters: int, epochs: int) -> None:
        """Check a run against the limits.

        Args:
            parameters: Trainable and frozen weights of the network.
            epochs: Epochs of the run.

        Raises:
            OverBudgetError: The network has too many parameters.
            ConfigError: The run has too many epochs.
        """
        below, faults = self.parameters_below, []
        if below is not None and parameters >= below:
            faults.append(
                f"budget.parameters_below must exceed the network's parameters, got {below:,} for {parameters:,} "
                "(budget=none removes the limit)"
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
