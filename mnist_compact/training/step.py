"""One training step: forward, backward, update, average, counts. On a GPU, it is captured once and replayed."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_compact.models.network import INPUT_SHAPE
from mnist_compact.optim.flat import FlatOptimizer
from mnist_compact.optim.optimizers import Optimizer

Work = Callable[[], None]
WARM_UP = 3  # steps before a capture, as torch.cuda.graph requires: libraries choose their kernels in them


class WeightAverage:
    """Exponential moving average of a network's weights, stored in a copy of the network.

    Args:
        model: The network to copy.
        decay: Decay per step, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = deepcopy(model)
        self.decay = decay
        self.begun = False

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Add the weights of `model` to the average. The first update copies them."""
        averaged: list[Tensor] = list(self.module.parameters())
        weights: list[Tensor] = list(model.parameters())
        if self.begun:
            torch._foreach_lerp_(averaged, weights, 1 - self.decay)
        else:
            torch._foreach_copy_(averaged, weights)
        self.begun = True

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and whether the average has begun."""
        return {"module": self.module.state_dict(), "begun": self.begun}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state that `state_dict` has returned."""
        self.module.load_state_dict(state_dict["module"])
        self.begun = state_dict["begun"]


@dataclass(slots=True)
class TrainState:
    """Everything that training changes and that a checkpoint contains."""

    model: nn.Module
    optimizer: Optimizer
    average: WeightAverage | None = None


class Step:
    """A training step that runs kernel by kernel.

    `loss_sum` and `correct` accumulate on the device until `clear`.

    Args:
        train_state: The network, its optimizer and its average.
        label_smoothing: Fraction of the target that is spread over all classes, in [0, 1).
        autocast: Precision of the forward pass.
    """

    def __init__(self, train_state: TrainState, label_smoothing: float, autocast: torch.autocast) -> None:
        self.train_state, self.label_smoothing, self.autocast = train_state, label_smoothing, autocast
        for group in train_state.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # the peak rate, which a schedule scales
        device = next(train_state.model.parameters()).device
        self.loss_sum = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)

    def clear(self) -> None:
        """Reset `loss_sum` and `correct`."""
        self.loss_sum.zero_()
        self.correct.zero_()

    def __call__(self, images: Tensor, labels: Tensor, *, averaging: bool) -> None:
        """Do a step on images (n, 1, 28, 28) and labels (n,); update the average if `averaging`."""
        self.work(images, labels, averaging=averaging, update=self.train_state.optimizer.step)

    def work(self, images: Tensor, labels: Tensor, *, averaging: bool, update: Work) -> None:
        """Do the computations of a step; `update` changes the weights from their gradients."""
        model, average = self.train_state.model, self.train_state.average
        with self.autocast:
            logits = model(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        loss.backward()
        update()
        self.train_state.optimizer.zero_grad()
        if average is not None and averaging:
            average.update(model)
        self.tally(logits.detach(), loss.detach(), labels)

    def tally(self, logits: Tensor, loss: Tensor, labels: Tensor) -> None:
        """Add a batch to `loss_sum` and `correct`."""
        self.loss_sum += loss * len(labels)
        self.correct += (logits.argmax(1) == labels).sum()


@runtime_checkable
class Capturable(Protocol):
    """An optimizer whose step consists of the `update` of each of its parts."""

    @property
    def parts(self) -> list[FlatOptimizer]: ...


class GraphCapture(Protocol):
    """A way to record work and replay it."""

    def warm_up(self, work: Work) -> None:
        """Do the work without recording it. This is required a few times before a capture."""
        ...

    def capture(self, work: Work) -> Work:
        """Record the work without doing it; return a function that replays it."""
        ...


class CudaGraphs:
    """CUDA graphs as in torch's notes: warm up on a side stream, then capture."""

    def warm_up(self, work: Work) -> None:
        side_stream = torch.cuda.Stream()
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            work()
        torch.cuda.current_stream().wait_stream(side_stream)

    def capture(self, work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay


class CapturedStep(Step):
    """A step that is recorded for one full batch and replayed for the others, with inputs at fixed addresses.

    A shorter last batch runs kernel by kernel, and so does the first update of an average, which differs from the
    others.

    Args:
        step: The step to capture.
        batch_size: Images of a full batch.
        graph_capture: How to record and replay.
    """

    def __init__(self, step: Step, batch_size: int, graph_capture: GraphCapture) -> None:
        super().__init__(step.train_state, step.label_smoothing, step.autocast)
        assert isinstance(step.train_state.optimizer, Capturable)
        self.parts, self.batch_size, self.graph_capture = step.train_state.optimizer.parts, batch_size, graph_capture
        device = self.loss_sum.device
        self.images = torch.zeros(batch_size, *INPUT_SHAPE, device=device)
        self.labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
        self.rates, self.counts = torch.zeros(2, len(self.parts), device=device)
        self.replays: dict[bool, Work] = {}  # averaging → replay
        self.warmed: Counter[bool] = Counter()

    def __call__(self, images: Tensor, labels: Tensor, *, averaging: bool) -> None:
        average = self.train_state.average
        begins = averaging and average is not None and not average.begun
        if len(labels) != self.batch_size or begins:
            return super().__call__(images, labels, averaging=averaging)
        self.images.copy_(images)
        self.labels.copy_(labels)
        for part, rate, count in zip(self.parts, self.rates, self.counts, strict=True):
            part.steps += 1
            rate.fill_(part.param_groups[0]["lr"])
            count.fill_(part.steps)
        if self.warmed[averaging] < WARM_UP:
            self.warmed[averaging] += 1
            return self.graph_capture.warm_up(lambda: self._whole_batch(averaging))
        if averaging not in self.replays:
            self.replays[averaging] = self.graph_capture.capture(lambda: self._whole_batch(averaging))
        self.replays[averaging]()

    def _whole_batch(self, averaging: bool) -> None:
        self.work(self.images, self.labels, averaging=averaging, update=self._update)

    def _update(self) -> None:
        for part, rate, count in zip(self.parts, self.rates, self.counts, strict=True):
            part.update(rate, count)


def fastest_step(train_state: TrainState, batch_size: int, label_smoothing: float, autocast: torch.autocast) -> Step:
    """Return a captured step on a GPU if the optimizer can be captured, otherwise a plain step."""
    step = Step(train_state, label_smoothing, autocast)
    if step.loss_sum.device.type == "cuda" and isinstance(train_state.optimizer, Capturable):
        return CapturedStep(step, batch_size, CudaGraphs())
    return step
