"""Update rules on vectors (see `flat.py`), with the formulas of torch.optim. Tests compare them with torch.optim."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from mnist_compact.optim.flat import Scalar


@dataclass(kw_only=True, slots=True, frozen=True)
class Sgd:
    """SGD with momentum, as torch.optim.SGD without dampening."""

    momentum: float
    nesterov: bool
    weight_decay: float

    def initial(self, weights: Tensor) -> dict[str, Tensor]:
        return {"momentum": weights.new_zeros(weights.shape)} if self.momentum else {}

    def with_momentum(self, momentum: float) -> Self:
        return replace(self, momentum=momentum)

    def __call__(self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Scalar, step: Scalar) -> None:
        direction = gradient.add(weights, alpha=self.weight_decay)
        if self.momentum:
            momentum = state["momentum"].mul_(self.momentum).add_(direction)
            direction = direction.add_(momentum, alpha=self.momentum) if self.nesterov else momentum
        weights.sub_(direction * lr)


@dataclass(kw_only=True, slots=True, frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) if `decoupled` is true."""

    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    decoupled: bool

    def initial(self, weights: Tensor) -> dict[str, Tensor]:
        return {"mean": weights.new_zeros(weights.shape), "square": weights.new_zeros(weights.shape)}

    def with_momentum(self, momentum: float) -> Self:
        return replace(self, beta1=momentum)

    def __call__(self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Scalar, step: Scalar) -> None:
        if self.decoupled:
            weights.mul_(1 - lr * self.weight_decay)
        else:
            gradient = gradient.add(weights, alpha=self.weight_decay)
        mean = state["mean"].lerp_(gradient, 1 - self.beta1)
        denominator = root_mean_square(state["square"], gradient, self.beta2, step).add_(self.eps)
        weights.sub_(mean / denominator * (lr / (1 - self.beta1**step)))


@dataclass(kw_only=True, slots=True, frozen=True)
class NAdam:
    """NAdam (Dozat 2016), with the momentum schedule beta1 · (1 - 0.96**(0.004 t) / 2) at step t."""

    beta1: float
    beta2: float
    eps: float
    weight_decay: float

    def initial(self, weights: Tensor) -> dict[str, Tensor]:
        zeros = weights.new_zeros(weights.shape)
        return {"mean": zeros, "square": zeros.clone(), "product": weights.new_ones(1)}

    def with_momentum(self, momentum: float) -> Self:
        return replace(self, beta1=momentum)

    def __call__(self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Scalar, step: Scalar) -> None:
        gradient = gradient.add(weights, alpha=self.weight_decay)
        mu, mu_next = self._momentum(step), self._momentum(step + 1)
        product = state["product"].mul_(mu)
        mean = state["mean"].lerp_(gradient, 1 - self.beta1)
        denominator = root_mean_square(state["square"], gradient, self.beta2, step).add_(self.eps)
        ahead = gradient * (lr * (1 - mu) / (1 - product)) + mean * (lr * mu_next / (1 - product * mu_next))
        weights.sub_(ahead / denominator)

    def _momentum(self, step: Scalar) -> Scalar:
        return self.beta1 * (1 - 0.5 * 0.96 ** (0.004 * step))


@dataclass(kw_only=True, slots=True, frozen=True)
class RmsProp:
    """RMSprop, as torch.optim.RMSprop without centring."""

    alpha: float
    momentum: float
    eps: float
    weight_decay: float

    def initial(self, weights: Tensor) -> dict[str, Tensor]:
        state = {"square": weights.new_zeros(weights.shape)}
        return {**state, "momentum": weights.new_zeros(weights.shape)} if self.momentum else state

    def with_momentum(self, momentum: float) -> Self:
        return replace(self, momentum=momentum)

    def __call__(self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Scalar, step: Scalar) -> None:
        gradient = gradient.add(weights, alpha=self.weight_decay)
        square = state["square"].mul_(self.alpha).addcmul_(gradient, gradient, value=1 - self.alpha)
        direction = gradient / square.sqrt().add_(self.eps)
        if self.momentum:
            direction = state["momentum"].mul_(self.momentum).add_(direction)
        weights.sub_(direction * lr)


def root_mean_square(square: Tensor, gradient: Tensor, beta: float, step: Scalar) -> Tensor:
    """Update the moving average of the squared gradient and return its root, corrected for the start at zero."""
    square.mul_(beta).addcmul_(gradient, gradient, value=1 - beta)
    return square.sqrt().div_((1 - beta**step) ** 0.5)
