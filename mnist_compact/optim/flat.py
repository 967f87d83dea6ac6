"""Optimizers that store all parameters of a network in one vector, so that an update takes few operations.

A compact network has some thousand weights in dozens of tensors. The overhead per tensor is several times the
arithmetic, and torch.optim imports the compiler at its first use, which takes 150 MB (`benchmarks/README.md`).
"""

from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from mnist_compact.common.errors import ConfigError

Scalar = float | Tensor  # a tensor if the update is part of a captured graph
ALIGNMENT = 4  # numbers: a GPU's matrix products load 16 bytes at a time and require aligned addresses


def padded_size(numbers: int) -> int:
    """Return the size of a parameter in the vector, rounded up so that the next parameter is aligned for a GPU."""
    return -(-numbers // ALIGNMENT) * ALIGNMENT


class Rule(Protocol):
    """An update rule on vectors (size,). The padding between parameters is zero and must stay zero."""

    def initial(self, weights: Tensor) -> dict[str, Tensor]:
        """Return the state before the first step: vectors (size,) and single numbers (1,)."""
        ...

    def with_momentum(self, momentum: float) -> Self:
        """Return the rule with another momentum, for the same state; unchanged if the rule has no momentum."""
        ...

    def __call__(self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Scalar, step: Scalar) -> None:
        """Update `weights` and `state` in place. `step` counts from 1; `gradient` is not changed."""
        ...


@dataclass(slots=True)
class FlatParameters:
    """Parameters that share one vector, and views of a second vector that gathers their gradients."""

    parameters: list[nn.Parameter]
    vector: Tensor
    gradient: Tensor
    views: list[Tensor]

    @classmethod
    def of(cls, parameters: list[nn.Parameter]) -> "FlatParameters":
        """Move parameters into one vector. Each keeps its shape and memory format.

        Moving the module to another device afterwards would separate the parameters again.

        This method and a rule's `initial` do not use `empty_like` and similar functions: for networks on the meta
        device these import the compiler, which takes half a second in every process.
        """
        first = parameters[0]
        assert all((p.dtype, p.device) == (first.dtype, first.device) for p in parameters)
        vector = torch.zeros(sum(padded_size(p.numel()) for p in parameters), dtype=first.dtype, device=first.device)
        gradient, views, start = vector.new_zeros(vector.shape), [], 0
        for parameter in parameters:
            layout = (parameter.shape, parameter.detach().clone().stride(), start)
            view = vector.as_strided(*layout)
            parameter.data = view.copy_(parameter.detach())
            views.append(gradient.as_strided(*layout))
            start += padded_size(parameter.numel())
        return cls(parameters, vector, gradient, views)

    def parts_of(self, vector: Tensor) -> list[Tensor]:
        """Return views of each parameter's numbers in a vector of the same layout; a single number is one part."""
        if vector.shape != self.vector.shape:
            return [vector]
        padded = vector.split([padded_size(p.numel()) for p in self.parameters])
        return [numbers[: p.numel()] for numbers, p in zip(padded, self.parameters, strict=True)]

    def gather(self) -> None:
        """Copy the parameters' gradients into `gradient`.

        Raises:
            ConfigError: A parameter has no gradient, because it does not contribute to the logits.
        """
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if len(gradients) != len(self.views):
            unused = [f"{tuple(each.shape)}" for each in self.parameters if each.grad is None]
            raise ConfigError([f"model: weights of shape {', '.join(unused)} do not contribute to the logits"])
        torch._foreach_copy_(self.views, gradients)


class FlatOptimizer:
    """An update rule on all parameters at once, with the interface of torch.optim.

    Args:
        parameters: The trainable parameters, on one device and of one type.
        rule: The update rule.
        lr: The peak learning rate.
    """

    def __init__(self, parameters: list[nn.Parameter], rule: Rule, lr: float) -> None:
        self.flat = FlatParameters.of(parameters)
        self.rule = rule
        self.state = rule.initial(self.flat.vector)
        self.steps = 0
        self.param_groups: list[dict[str, Any]] = [{"lr": lr}]

    @property
    def parts(self) -> list[Self]:
        """The optimizers whose updates make up a step: this one only. A captured step on a GPU calls them."""
        return [self]

    def step(self) -> None:
        """Update the parameters from their gradients."""
        self.steps += 1
        self.update(self.param_groups[0]["lr"], self.steps)

    def set_momentum(self, momentum: float) -> None:
        """Set the momentum of the following steps. A captured update keeps the momentum of its capture."""
        self.rule = self.rule.with_momentum(momentum)

    @torch.no_grad()
    def update(self, lr: Scalar, step: Scalar) -> None:
        """Do a step without counting it. If `lr` and `step` are tensors, it can be captured once and replayed."""
        self.flat.gather()
        self.rule(self.flat.vector, self.flat.gradient, self.state, lr, step)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Remove the gradients, or set them to zero, as torch.optim does."""
        for parameter in self.flat.parameters:
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return the state without the padding between parameters."""
        state = {name: torch.cat(self.flat.parts_of(vector)) for name, vector in self.state.items()}
        return {"steps": self.steps, "state": state, "param_groups": [dict(g) for g in self.param_groups]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state that `state_dict` has returned."""
        assert set(state_dict["state"]) == set(self.state), "the state belongs to another rule"
        self.steps = state_dict["steps"]
        for name, vector in self.state.items():
            parts = self.flat.parts_of(vector)
            stored = state_dict["state"][name].split([len(part) for part in parts])
            torch._foreach_copy_(parts, list(stored))
        for group, settings in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update(settings)
