"""Muon for networks with convolutions or hidden linear layers. A convolution is a matrix with one filter per row."""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.optim.flat import FlatOptimizer, Scalar, padded_size
from mnist_compact.optim.update_rules import Adam

QUINTIC = (
    3.4445,
    -4.7750,
    2.0315,
)  # Jordan 2024: chosen for the steepest slope at zero, where small singular values grow fastest
STEPS = 5  # Newton-Schulz iterations


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return `matrix` (height, width) with singular values near 1, by Newton-Schulz iterations in bfloat16."""
    a, b, c = QUINTIC
    x = matrix.bfloat16()
    if tall := x.size(0) > x.size(1):
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


@dataclass(kw_only=True, slots=True, frozen=True)
class Muon:
    """Momentum orthogonalised by Newton-Schulz iterations (Jordan 2024), on padded matrices in one vector.

    The order of a matrix's columns does not matter: orthogonalisation commutes with permutations of the columns.
    """

    shapes: list[tuple[int, int]]  # height and width of each matrix
    momentum: float
    nesterov: bool
    weight_decay: float

    def initial(self, weights: Tensor) -> dict[str, Tensor]:
        return {"momentum": weights.new_zeros(weights.shape)}

    def with_momentum(self, momentum: float) -> Self:
        return replace(self, momentum=momentum)

    def __call__(self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Scalar, step: Scalar) -> None:
        momentum = state["momentum"].lerp_(gradient, 1 - self.momentum)
        direction = gradient.lerp(momentum, self.momentum) if self.nesterov else momentum
        weights.mul_(1 - lr * self.weight_decay)
        sizes = [padded_size(height * width) for height, width in self.shapes]
        for shape, weight, towards in zip(self.shapes, weights.split(sizes), direction.split(sizes), strict=True):
            size = math.prod(shape)
            update = orthogonalised(towards[:size].view(shape))
            weight[:size].view(shape).sub_(update * (lr * math.sqrt(max(1, shape[0] / shape[1]))))


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """Return the weights of the convolutions; without convolutions, of all linear layers except the last."""
    convolutions = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    return convolutions or [module.weight for module in model.modules() if isinstance(module, nn.Linear)][:-1]


class ConvMuon:
    """Muon on the convolutions, AdamW on all other parameters. Without convolutions, Muon updates hidden linear layers.

    Args:
        model: The network, already on its device and in its memory format.
        lr: Peak learning rate of Muon.
        momentum: Momentum of Muon, in [0, 1).
        nesterov: Whether Muon uses Nesterov momentum.
        adamw_lr: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay of both.

    Raises:
        ConfigError: The network has neither convolutions nor hidden linear layers.
    """

    def __init__(
        self, model: nn.Module, *, lr: float, momentum: float, nesterov: bool, adamw_lr: float, weight_decay: float
    ) -> None:
        matrices = {id(weight) for weight in hidden_matrices(model)}
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        filters = [parameter for parameter in trained if id(parameter) in matrices]
        rest = [parameter for parameter in trained if id(parameter) not in matrices]
        if not filters:
            raise ConfigError(["optim=muon needs a network with convolutions or hidden linear layers, got none"])
        shapes = [(len(weight), weight[0].numel()) for weight in filters]
        muon = Muon(shapes=shapes, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
        adamw = Adam(beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=weight_decay, decoupled=True)
        self.parts = [FlatOptimizer(filters, muon, lr)]
        if rest:
            self.parts.append(FlatOptimizer(rest, adamw, adamw_lr))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Learning rates of both parts, as in torch.optim."""
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        """Update the parameters from their gradients."""
        for part in self.parts:
            part.step()

    def set_momentum(self, momentum: float) -> None:
        """Set the momentum of Muon. AdamW keeps its own."""
        self.parts[0].set_momentum(momentum)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Remove the gradients, or set them to zero, as torch.optim does."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both parts."""
        return {str(index): part.state_dict() for index, part in enumerate(self.parts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore states that `state_dict` has returned."""
        for index, part in enumerate(self.parts):
            part.load_state_dict(state_dict[str(index)])
