"""Optimizer options. Only `build` imports torch. A learning rate is the peak that a schedule scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mnist_compact.common.errors import Validator

if TYPE_CHECKING:
    from torch import nn

    from mnist_compact.optim.flat import FlatOptimizer, Rule


class Optimizer(Protocol):
    """The interface that the loop and the checkpoint use: torch.optim.Optimizer's and `set_momentum`."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...
    def step(self) -> Any: ...
    def set_momentum(self, momentum: float) -> None: ...
    def zero_grad(self, set_to_none: bool = True) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


@dataclass(kw_only=True, slots=True)
class OptimConfig:
    """Base of every optimizer option."""

    name: str  # name of the option, as typed
    lr: float  # peak learning rate, above 0
    weight_decay: float = 0.0  # at least 0; 0 = off; sgd, adam, nadam and rmsprop add it to the gradient (L2)

    def build(self, model: nn.Module) -> Optimizer:
        """Return the optimizer of a network's trainable parameters.

        Args:
            model: The network, already on its device and in its memory format.
        """
        raise NotImplementedError

    def own_momentum(self) -> float:
        """Return the momentum that a schedule may change at every step; 0 if there is none."""
        return 0.0

    def flat(self, model: nn.Module, rule: Rule) -> FlatOptimizer:
        """Return an optimizer that applies `rule` to the trainable parameters."""
        from mnist_compact.optim.flat import FlatOptimizer

        return FlatOptimizer([each for each in model.parameters() if each.requires_grad], rule, self.lr)

    def shared_checks(self) -> Validator:
        """Check the fields of this base class and return the validator, so that all errors are reported at once."""
        # super().__post_init__() does not work in slotted dataclasses on Python 3.11: each subclass calls this instead.
        validator = Validator("optim")
        validator.check(self.lr > 0, "lr", "must be above 0", self.lr)
        validator.check(self.weight_decay >= 0, "weight_decay", "must be at least 0", self.weight_decay)
        return validator


@dataclass(kw_only=True, slots=True)
class SgdConfig(OptimConfig):
    """Stochastic gradient descent with momentum."""

    momentum: float  # in [0, 1); 0 = off
    nesterov: bool = True  # Nesterov momentum; without effect if momentum is 0

    def __post_init__(self) -> None:
        validator = self.shared_checks()
        validator.check(0 <= self.momentum < 1, "momentum", "must be in [0, 1)", self.momentum)
        validator.raise_if_any()

    def own_momentum(self) -> float:
        return self.momentum

    def build(self, model: nn.Module) -> Optimizer:
        from mnist_compact.optim.update_rules import Sgd

        return self.flat(model, Sgd(momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay))


@dataclass(kw_only=True, slots=True)
class AdaptiveConfig(OptimConfig):
    """Base of the Adam family."""

    beta1: float = 0.9  # decay of the mean of the gradients per step, in [0, 1)
    beta2: float = 0.999  # decay of the mean of their squares per step, in [0, 1)
    eps: float = 1e-8  # added to the denominator, above 0

    def __post_init__(self) -> None:
        validator = self.shared_checks()
        validator.check(0 <= self.beta1 < 1, "beta1", "must be in [0, 1)", self.beta1)
        validator.check(0 <= self.beta2 < 1, "beta2", "must be in [0, 1)", self.beta2)
        validator.check(self.eps > 0, "eps", "must be above 0", self.eps)
        validator.raise_if_any()

    def settings(self) -> dict[str, float]:
        """Return the arguments that the update rules of this family share."""
        return {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps, "weight_decay": self.weight_decay}

    def own_momentum(self) -> float:
        return self.beta1


@dataclass(kw_only=True, slots=True)
class AdamConfig(AdaptiveConfig):
    """Adam; weight decay is added to the gradient."""

    def build(self, model: nn.Module) -> Optimizer:
        from mnist_compact.optim.update_rules import Adam

        return self.flat(model, Adam(decoupled=False, **self.settings()))


@dataclass(kw_only=True, slots=True)
class AdamWConfig(AdaptiveConfig):
    """Adam with decoupled weight decay."""

    def build(self, model: nn.Module) -> Optimizer:
        from mnist_compact.optim.update_rules import Adam

        return self.flat(model, Adam(decoupled=True, **self.settings()))


@dataclass(kw_only=True, slots=True)
class NAdamConfig(AdaptiveConfig):
    """Adam with Nesterov momentum; weight decay is added to the gradient."""

    def build(self, model: nn.Module) -> Optimizer:
        from mnist_compact.optim.update_rules import NAdam

        return self.flat(model, NAdam(**self.settings()))


@dataclass(kw_only=True, slots=True)
class RmsPropConfig(OptimConfig):
    """RMSprop; weight decay is added to the gradient."""

    alpha: float = 0.99  # decay of the mean square of the gradients per step, in [0, 1)
    momentum: float = 0.0  # in [0, 1); 0 = off
    eps: float = 1e-8  # added to the denominator, above 0

    def __post_init__(self) -> None:
        validator = self.shared_checks()
        validator.check(0 <= self.alpha < 1, "alpha", "must be in [0, 1)", self.alpha)
        validator.check(0 <= self.momentum < 1, "momentum", "must be in [0, 1)", self.momentum)
        validator.check(self.eps > 0, "eps", "must be above 0", self.eps)
        validator.raise_if_any()

    def own_momentum(self) -> float:
        return self.momentum

    def build(self, model: nn.Module) -> Optimizer:
        from mnist_compact.optim.update_rules import RmsProp

        rule = RmsProp(alpha=self.alpha, momentum=self.momentum, eps=self.eps, weight_decay=self.weight_decay)
        return self.flat(model, rule)


@dataclass(kw_only=True, slots=True)
class MuonConfig(OptimConfig):
    """Muon on the weights of the convolutions, AdamW on all other weights (norms, biases, a linear head).

    In a network without convolutions, Muon updates all linear layers except the last. Weight decay is decoupled.
    """

    momentum: float  # momentum of Muon, in [0, 1); 0 = off
    nesterov: bool = True  # Nesterov momentum in Muon
    adamw_lr: float  # peak learning rate of AdamW, above 0

    def __post_init__(self) -> None:
        validator = self.shared_checks()
        validator.check(0 <= self.momentum < 1, "momentum", "must be in [0, 1)", self.momentum)
        validator.check(self.adamw_lr > 0, "adamw_lr", "must be above 0", self.adamw_lr)
        validator.raise_if_any()

    def own_momentum(self) -> float:
        return self.momentum

    def build(self, model: nn.Module) -> Optimizer:
        from mnist_compact.optim.muon import ConvMuon

        return ConvMuon(
            model,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            adamw_lr=self.adamw_lr,
            weight_decay=self.weight_decay,
        )


OPTIMIZERS: dict[str, type[OptimConfig]] = {
    "sgd": SgdConfig,
    "adam": AdamConfig,
    "adamw": AdamWConfig,
    "nadam": NAdamConfig,
    "rmsprop": RmsPropConfig,
    "muon": MuonConfig,
}
