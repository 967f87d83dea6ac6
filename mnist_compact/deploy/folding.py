"""A trained network as a chain of torch's own layers: without dropout, and with BatchNorm folded into convolutions."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.models.blocks import ACTIVATIONS, Residual
from mnist_compact.models.network import CompactNetwork
from mnist_compact.models.norm_dropout import NormDropout, ReluPosition
from mnist_compact.zoo.classifier import Classifier


class Affine(nn.Module):
    """slope · x + shift for each channel, (N, C, H, W) → (N, C, H, W): a BatchNorm that could not be folded."""

    slope: Tensor
    shift: Tensor

    def __init__(self, slope: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("slope", slope)  # (C,)
        self.register_buffer("shift", shift)  # (C,)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.slope.view(-1, 1, 1) + self.shift.view(-1, 1, 1)


def fold(classifier: Classifier) -> nn.Sequential:
    """Rewrite a network of the compact family, with the normalisation of its input, for export.

    A BatchNorm, and the normalisation of the input, becomes a factor and a summand for each channel. These are folded
    into the convolution before, or, if there is an activation between, into the next convolution if it has no padding:
    zeros around the map would otherwise change their meaning. What cannot be folded remains as an `Affine`.

    Args:
        classifier: The network.

    Returns:
        Maps images (N, 1, 28, 28) of floats in [0, 1] to logits (N, 10). Its parts are Conv2d, the activations of
        torch.nn, MaxPool2d, AvgPool2d, Affine, Residual, and a Flatten at the end.

    Raises:
        ConfigError: The network has a part that does not belong to the family, or weights that are not finite.
    """
    classifier.check_weights()
    network = classifier.network
    if not isinstance(network, CompactNetwork):
        raise ConfigError([f"export needs a network of the compact family, got {type(network).__name__}"])
    normalisation = Affine(
        torch.tensor([1 / classifier.std], dtype=torch.float64),
        torch.tensor([-classifier.mean / classifier.std], dtype=torch.float64),
    )
    parts = [normalisation, *_parts("layers", network.layers), *_parts("pool", network.pool)]
    chain = nn.Sequential(*_folded([*parts, *_parts("head", network.head)]), nn.Flatten(1))
    return chain.float().eval().requires_grad_(False)


def _parts(path: str, module: nn.Module) -> Iterator[nn.Module]:
    """Yield the module as a chain of the parts that `fold` returns, in float64."""
    kind = type(module)
    if kind is nn.Sequential:
        for name, part in module.named_children():
            yield from _parts(f"{path}.{name}", part)
    elif isinstance(module, NormDropout):
        if module.relu is ReluPosition.before:
            yield nn.ReLU()
        yield _affine(module.norm)
        if module.relu is ReluPosition.after:
            yield nn.ReLU()
    elif isinstance(module, Residual):
        body = nn.Sequential(*_folded([*_parts(f"{path}.body", module.body)]))
        residual = Residual(body, 0, 0)
        if isinstance(module.shortcut, nn.Conv2d):
            residual.shortcut = _convolution(f"{path}.shortcut", module.shortcut)
        yield residual
    elif isinstance(module, nn.Conv2d | nn.Linear):
        yield _convolution(path, module)
    elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        plain = (nn.MaxPool2d if isinstance(module, nn.MaxPool2d) else nn.AvgPool2d)(module.kernel_size)
        if module.extra_repr() != plain.extra_repr():
            raise ConfigError([f"export cannot represent {path}: its windows must not overlap, got {module}"])
        yield plain
    elif kind in ACTIVATIONS.values():
        if repr(module) != repr(kind()):
            raise ConfigError([f"export cannot represent {path}: it needs torch's defaults, got {module}"])
        yield kind()
    elif not isinstance(module, nn.Dropout | nn.Dropout2d):
        raise ConfigError([f"export cannot represent {path}, a {kind.__name__}"])


def _affine(norm: nn.BatchNorm2d) -> Affine:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    slope = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return Affine(slope, norm.bias.detach().double() - slope * norm.running_mean.double())


def _convolution(path: str, module: nn.Conv2d | nn.Linear) -> nn.Conv2d:
    """Return a copy with a bias; a linear layer becomes a 1×1 convolution."""
    weight = module.weight.detach().double().contiguous()
    groups, stride, padding = 1, 1, 0
    if isinstance(module, nn.Conv2d):
        (stride, _), groups = module.stride, module.groups
        assert isinstance(module.padding, tuple)
        padding = module.padding[0]
        square = len({*module.kernel_size}) == len({*module.stride}) == len({*module.padding}) == 1
        if not square or module.dilation != (1, 1) or module.padding_mode != "zeros":
            raise ConfigError(
                [f"export cannot represent {path}: it needs square windows, no dilation, zeros as padding"]
            )
        if groups not in (1, module.in_channels) or (groups > 1 and module.in_channels != module.out_channels):
            raise ConfigError(
                [f"export cannot represent {path}: it needs 1 group or one for each channel, got {groups}"]
            )
    else:
        weight = weight.view(*weight.shape, 1, 1)
    bias = torch.zeros(len(weight), dtype=torch.float64) if module.bias is None else module.bias.detach().double()
    return _new_convolution(weight, bias, stride=stride, padding=padding, groups=groups)


def _new_convolution(weight: Tensor, bias: Tensor, *, stride: int, padding: int, groups: int) -> nn.Conv2d:
    width, per_group, kernel, _ = weight.shape
    convolution = nn.Conv2d(
        per_group * groups, width, kernel, stride=stride, padding=padding, groups=groups, device="meta"
    )
    convolution.weight, convolution.bias = nn.Parameter(weight), nn.Parameter(bias)
    return convolution


def _folded(parts: list[nn.Module]) -> list[nn.Module]:
    folded: list[nn.Module] = []
    for part in parts:
        if isinstance(part, Affine) and folded and isinstance(folded[-1], nn.Conv2d):
            folded[-1] = _after(folded[-1], part)
        elif isinstance(part, nn.Conv2d) and part.padding == (0, 0) and (at := _pending_affine(folded)) is not None:
            affine = folded.pop(at)
            assert isinstance(affine, Affine)
            folded.append(_before(part, affine))
        else:
            folded.append(part)
    return folded


def _pending_affine(folded: list[nn.Module]) -> int | None:
    """Return the index of an Affine that is followed only by average pooling, with which an Affine commutes."""
    for at in reversed(range(len(folded))):
        if isinstance(folded[at], Affine):
            return at
        if not isinstance(folded[at], nn.AvgPool2d):
            return None
    return None


def _after(convolution: nn.Conv2d, affine: Affine) -> nn.Conv2d:
    assert convolution.bias is not None
    weight = convolution.weight.detach() * affine.slope.view(-1, 1, 1, 1)
    return _like(convolution, weight, convolution.bias.detach() * affine.slope + affine.shift)


def _before(convolution: nn.Conv2d, affine: Affine) -> nn.Conv2d:
    assert convolution.bias is not None
    weight, groups = convolution.weight.detach(), convolution.groups
    slope, shift = (  # (1, C) for one group, (C, 1) for one group for each channel
        each.view(groups, -1).expand(-1, weight.shape[1])[:, :, None, None] for each in (affine.slope, affine.shift)
    )
    return _like(convolution, weight * slope, convolution.bias.detach() + (weight * shift).sum((1, 2, 3)))


def _like(convolution: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    assert isinstance(convolution.padding, tuple)
    return _new_convolution(
        weight, bias, stride=convolution.stride[0], padding=convolution.padding[0], groups=convolution.groups
    )
