"""Muon for convolutional networks. torch.optim.Muon takes matrices only; a convolution's weight is one, flattened."""

from typing import Any

import torch
from torch import Tensor, nn


def as_matrix(weight: Tensor, like: Tensor) -> Tensor:
    """(out, in, k, k) as (out, in · k · k) in the order in which `like` lies in memory.

    A view when `weight` lies like `like`. The order of the columns does not matter to Muon: its orthogonalisation
    commutes with permutations of them.
    """
    return weight.flatten(1) if like.is_contiguous() else weight.permute(0, 2, 3, 1).flatten(1)


class ConvMuon:
    """Muon (momentum orthogonalised by Newton-Schulz, Jordan 2024) on convolutions, AdamW on every other parameter.

    Build it after the model has its device and memory format: the matrices share the weights' storage.
    """

    def __init__(
        self, model: nn.Module, *, lr: float, momentum: float, nesterov: bool, adamw_lr: float, weight_decay: float
    ) -> None:
        self.weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
        self.matrices = [nn.Parameter(as_matrix(weight.detach(), weight)) for weight in self.weights]
        for weight, matrix in zip(self.weights, self.matrices, strict=True):
            assert weight.data_ptr() == matrix.data_ptr(), "a step on the matrix must move the weight"
        convolved = {id(weight) for weight in self.weights}
        rest = [parameter for parameter in model.parameters() if id(parameter) not in convolved]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(self.matrices, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
        ]
        if rest:
            self.parts.append(torch.optim.AdamW(rest, lr=adamw_lr, weight_decay=weight_decay, fused=True))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for weight, matrix in zip(self.weights, self.matrices, strict=True):
            matrix.grad = None if weight.grad is None else as_matrix(weight.grad, weight)
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)
        for weight in self.weights:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {str(index): part.state_dict() for index, part in enumerate(self.parts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for index, part in enumerate(self.parts):
            part.load_state_dict(state_dict[str(index)])
