"""Muon for convolutional networks: a convolution's weight is a matrix of filters, one a row. And for others."""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.optim.flat import FlatOptimizer, Scalar, room
from mnist_compact.optim.update_rules import Adam

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan 2024: steepest at zero, which singular values leave fastest by it
STEPS = 5


def orthogonalised(matrix: Tensor) -> Tensor:
    """`matrix` (height, width) with its singular values brought near 1 by Newton-Schulz, in bfloat16."""
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
    """Momentum orthogonalised by Newton-Schulz (Jordan 2024), on matrices that lie in a vector, each in its `room`.

    The order of a matrix' columns does not matter: orthogonalisation commutes with permutations of them.
    """

    shapes: list[tuple[int, int]]
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
        rooms = [room(height * width) for height, width in self.shapes]
        for shape, place, towards in zip(self.shapes, weights.split(rooms), direction.split(rooms), strict=True):
            size = math.prod(shape)
            update = orthogonalised(towards[:size].view(shape))
            place[:size].view(shape).sub_(update * (lr * math.sqrt(max(1, shape[0] / shape[1]))))


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """Weights of the convolutions; without any, of the linear layers but the last, which makes the logits."""
    convolutions = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    return convolutions or [module.weight for module in model.modules() if isinstance(module, nn.Linear)][:-1]


class ConvMuon:
    """Muon on convolutions or, where there are none, on hidden linear layers; AdamW on every other parameter.

    Build it after the model has its device and memory format. Raises ConfigError for a model without either.
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
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def set_momentum(self, momentum: float) -> None:
        """Of Muon; AdamW keeps its own."""
        self.parts[0].set_momentum(momentum)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {str(index): part.state_dict() for index, part in enumerate(self.parts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for index, part in enumerate(self.parts):
            part.load_state_dict(state_dict[str(index)])
