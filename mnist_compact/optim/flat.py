"""All parameters of a network as one vector, so that an update is a handful of operations and not dozens.

A compact network has some thousand weights in dozens of tensors: visiting each costs several times the arithmetic, and
torch.optim besides imports the compiler at its first use, 150 MB of it (`benchmarks/README.md`).
"""

from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from mnist_compact.common.errors import ConfigError

Scalar = float | Tensor  # a tensor where the update is part of a captured graph
ALIGNMENT = 4  # numbers: a GPU's matrix products load 16 bytes at a time, and fail at other places


def room(numbers: int) -> int:
    """What so many take in the vector, so that the next begin where a GPU can load them."""
    return -(-numbers // ALIGNMENT) * ALIGNMENT


class Rule(Protocol):
    """How weights follow from gradients; vectors are (size,). Between parameters lie zeros, and shall stay."""

    def initial(self, weights: Tensor) -> dict[str, Tensor]:
        """The state before the first step: vectors, and single numbers (1,)."""
        ...

    def with_momentum(self, momentum: float) -> Self:
        """The rule with another momentum, for the same state; as it is where it has none."""
        ...

    def __call__(self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Scalar, step: Scalar) -> None:
        """Change `weights` and `state` in place. `step` counts from 1; `gradient` stays as it is."""
        ...


@dataclass(slots=True)
class FlatParameters:
    """Parameters that share one vector, and views of a second one that their gradients are gathered in."""

    parameters: list[nn.Parameter]
    vector: Tensor
    gradient: Tensor
    views: list[Tensor]

    @classmethod
    def of(cls, parameters: list[nn.Parameter]) -> "FlatParameters":
        """Each parameter keeps its shape and memory format. `Module.to` another device would part them again.

        Nothing here or in a rule's `initial` is an `empty_like` or its kind: of networks that are only planned these
        import the compiler as well, half a second in every process.
        """
        first = parameters[0]
        assert all((p.dtype, p.device) == (first.dtype, first.device) for p in parameters)
        vector = torch.zeros(sum(room(p.numel()) for p in parameters), dtype=first.dtype, device=first.device)
        gradient, views, start = vector.new_zeros(vector.shape), [], 0
        for parameter in parameters:
            layout = (parameter.shape, parameter.detach().clone().stride(), start)
            place = vector.as_strided(*layout)
            parameter.data = place.copy_(parameter.detach())
            views.append(gradient.as_strided(*layout))
            start += room(parameter.numel())
        return cls(parameters, vector, gradient, views)

    def parts_of(self, vector: Tensor) -> list[Tensor]:
        """Each parameter's numbers in a vector laid out like these, as views; a rule's single number is one part."""
        if vector.shape != self.vector.shape:
            return [vector]
        rooms = vector.split([room(p.numel()) for p in self.parameters])
        return [numbers[: p.numel()] for numbers, p in zip(rooms, self.parameters, strict=True)]

    def gather(self) -> None:
        """Copy the parameters' gradients, which autograd leaves in tensors of their own, into `gradient`."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if len(gradients) != len(self.views):
            idle = [f"{tuple(each.shape)}" for each in self.parameters if each.grad is None]
            raise ConfigError([f"model: weights of shape {', '.join(idle)} take no part in the logits"])
        torch._foreach_copy_(self.views, gradients)


class FlatOptimizer:
    """`rule` on all of `parameters` at once, with torch.optim's interface."""

    def __init__(self, parameters: list[nn.Parameter], rule: Rule, lr: float) -> None:
        self.flat = FlatParameters.of(parameters)
        self.rule = rule
        self.state = rule.initial(self.flat.vector)
        self.steps = 0
        self.param_groups: list[dict[str, Any]] = [{"lr": lr}]

    @property
    def parts(self) -> list[Self]:
        """Itself alone: what is captured on a GPU is an optimizer's parts."""
        return [self]

    def step(self) -> None:
        self.steps += 1
        self.update(self.param_groups[0]["lr"], self.steps)

    def set_momentum(self, momentum: float) -> None:
        """Of the steps to come. A captured update keeps the one that it was captured with."""
        self.rule = self.rule.with_momentum(momentum)

    @torch.no_grad()
    def update(self, lr: Scalar, step: Scalar) -> None:
        """The work of a step alone. With tensors for numbers it can be captured once and replayed with others."""
        self.flat.gather()
        self.rule(self.flat.vector, self.flat.gradient, self.state, lr, step)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.flat.parameters:
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        state = {name: torch.cat(self.flat.parts_of(vector)) for name, vector in self.state.items()}
        return {"steps": self.steps, "state": state, "param_groups": [dict(g) for g in self.param_groups]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert set(state_dict["state"]) == set(self.state), "the state is another rule's"
        self.steps = state_dict["steps"]
        for name, vector in self.state.items():
            parts = self.flat.parts_of(vector)
            saved = state_dict["state"][name].split([len(part) for part in parts])
            torch._foreach_copy_(parts, list(saved))
        for group, settings in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update(settings)
