import dataclasses
from copy import deepcopy as copy_of

import pytest
import torch
from torch import nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.optim.flat import FlatParameters
from mnist_compact.optim.muon import ConvMuon

OPTIONS = {
    "sgd": lambda c, p: torch.optim.SGD(
        p, lr=c.lr, momentum=c.momentum, nesterov=c.nesterov, weight_decay=c.weight_decay
    ),
    "adam": lambda c, p: torch.optim.Adam(p, lr=c.lr, betas=(c.beta1, c.beta2), eps=c.eps, weight_decay=c.weight_decay),
    "adamw": lambda c, p: torch.optim.AdamW(
        p, lr=c.lr, betas=(c.beta1, c.beta2), eps=c.eps, weight_decay=c.weight_decay
    ),
    "nadam": lambda c, p: torch.optim.NAdam(
        p, lr=c.lr, betas=(c.beta1, c.beta2), eps=c.eps, weight_decay=c.weight_decay
    ),
    "rmsprop": lambda c, p: torch.optim.RMSprop(
        p, lr=c.lr, alpha=c.alpha, momentum=c.momentum, eps=c.eps, weight_decay=c.weight_decay
    ),
}


def steps(model, optimizer, count=3):
    x = torch.linspace(-1, 1, 8 * 3 * 6 * 6).view(8, 3, 6, 6)
    for _ in range(count):
        optimizer.zero_grad()
        (model(x).square().mean() + model(x).mean()).backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def small_model(memory_format=torch.contiguous_format):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1), nn.Flatten(), nn.Linear(80, 2)
    )
    return model.to(memory_format=memory_format)


@pytest.mark.parametrize("option", OPTIONS)
def test_options_agree_with_torch_optimizers(configure, option):
    config = configure(f"optim={option}", "optim.lr=0.01", "optim.weight_decay=0.1").optim
    ours, plain = small_model(), small_model()
    actual = steps(ours, config.build(ours))
    expected = steps(plain, OPTIONS[option](config, plain.parameters()))
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_momentum_may_be_zero_with_nesterov(configure):
    """A search may then include 0 in its range. It is plain gradient descent, which torch refuses with nesterov."""
    config = configure("optim=sgd", "optim.lr=0.01", "optim.momentum=0").optim
    assert config.nesterov
    ours, plain = small_model(), small_model()
    actual = steps(ours, config.build(ours))
    expected = steps(plain, torch.optim.SGD(plain.parameters(), lr=0.01, weight_decay=config.weight_decay))
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("option", OPTIONS)
def test_momentum_schedule_agrees_with_torch_onecycle(configure, option):
    own = "beta1" if option in ("adam", "adamw", "nadam") else "momentum"
    config = configure(f"optim={option}", "optim.lr=0.001", f"optim.{own}=0.95", "scheduler=onecycle")
    scheduler = dataclasses.replace(config.scheduler, peak_momentum=0.6)
    ours, plain, count = small_model(), small_model(), 8
    actual, expected = config.optim.build(ours), OPTIONS[option](config.optim, plain.parameters())
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        expected, max_lr=0.001, total_steps=count, base_momentum=0.6, max_momentum=0.95
    )
    momentum = scheduler.momentum(config.optim.own_momentum(), steps_per_epoch=count, epochs=1)
    for step in range(count):
        actual.param_groups[0]["lr"] = expected.param_groups[0]["lr"]
        actual.set_momentum(momentum(step))
        for a, b in zip(steps(ours, actual, 1), steps(plain, expected, 1), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
        if step < count - 1:
            cycle.step()


def test_momentum_schedule_of_muon_applies_to_its_matrices():
    optimizers = [muon(small_model()), ConvMuon(small_model(), **(MUON | {"momentum": 0.5}))]
    optimizers[0].set_momentum(0.5)
    assert [part.rule for part in optimizers[0].parts] == [part.rule for part in optimizers[1].parts]


MUON = {"lr": 0.05, "momentum": 0.9, "nesterov": True, "adamw_lr": 0.01, "weight_decay": 0.01}


def muon(model):
    return ConvMuon(model, **MUON)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_muon_agrees_with_torch_muon_and_adamw(memory_format):
    model, plain = small_model(memory_format), small_model()
    convolutions = [plain[0].weight, plain[2].weight]
    matrices = [nn.Parameter(weight.detach().flatten(1).clone()) for weight in convolutions]
    rest = [parameter for parameter in plain.parameters() if parameter.dim() != 4]
    reference = torch.optim.Muon(matrices, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)
    adamw = torch.optim.AdamW(rest, lr=0.01, weight_decay=0.01)
    optimizer = muon(model)
    x = torch.linspace(-1, 1, 8 * 3 * 6 * 6).view(8, 3, 6, 6)
    for _ in range(3):
        for network in (model, plain):
            network.zero_grad()
            network(x).square().mean().backward()
        optimizer.step()
        for weight, matrix in zip(convolutions, matrices, strict=True):
            matrix.grad = weight.grad.flatten(1)
        reference.step()
        adamw.step()
        for weight, matrix in zip(convolutions, matrices, strict=True):
            weight.data.copy_(matrix.view_as(weight))
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        # Newton-Schulz runs in bfloat16; columns in another order round differently.
        torch.testing.assert_close(a, b, rtol=0.05, atol=5e-3)


def test_state_of_muon_is_restored():
    model = small_model(torch.channels_last)
    optimizer = muon(model)
    steps(model, optimizer)
    copy = small_model(torch.channels_last)
    copy.load_state_dict(model.state_dict())
    other = muon(copy)
    other.load_state_dict(copy_of(optimizer.state_dict()))  # torch shares tensors that need no conversion
    for a, b in zip(steps(model, optimizer), steps(copy, other), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("option", OPTIONS)
def test_tensor_hyperparameters_give_the_same_step(configure, option):
    """A captured graph replays this computation."""
    config = configure(f"optim={option}", "optim.lr=0.01", "optim.weight_decay=0.1").optim
    models = small_model(), small_model()
    optimizers = [config.build(model) for model in models]
    for step in (1, 2, 3):
        for model in models:
            model.zero_grad()
            model(torch.linspace(-1, 1, 8 * 108).view(8, 3, 6, 6)).square().mean().backward()
        optimizers[0].step()
        optimizers[1].update(torch.tensor(0.01), torch.tensor(float(step)))
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_flattened_parameters_keep_shape_layout_and_values():
    model = small_model(torch.channels_last)
    before = [(p.detach().clone(), p.stride()) for p in model.parameters()]
    flat = FlatParameters.of(list(model.parameters()))
    for parameter, (values, stride) in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, values)
        assert parameter.stride() == stride
    flat.vector.zero_()
    assert all(not parameter.any() for parameter in model.parameters())


def test_parameters_and_gradients_are_aligned_for_gpus():
    flat = FlatParameters.of([nn.Parameter(torch.ones(count)) for count in (5, 8, 1, 3)])
    for tensor in (*flat.parameters, *flat.views):
        assert tensor.data_ptr() % 16 == 0


@pytest.mark.parametrize("optim", ["adam", "muon"])
def test_saved_state_contains_only_values_of_the_parameters(configure, optim):
    """The state does not depend on the memory layout, and it can be restored."""
    models = [small_model() for _ in range(2)]
    one, other = (configure(f"optim={optim}").optim.build(model) for model in models)
    for _ in range(3):
        models[0](torch.ones(2, 3, 6, 6)).square().mean().backward()
        one.step()
    other.load_state_dict(one.state_dict())
    for a, b in zip(one.parts, other.parts, strict=True):
        numbers = sum(parameter.numel() for parameter in a.flat.parameters)
        assert {len(saved) for saved in a.state_dict()["state"].values()} == {numbers}
        assert a.state.keys() == b.state.keys()
        assert all(torch.equal(a.state[name], b.state[name]) and a.state[name].any() for name in a.state)


def test_parameter_outside_the_loss_is_reported(configure):
    model = small_model()
    optimizer = configure("optim=sgd").optim.build(model)
    with pytest.raises(ConfigError, match=r"weights of shape \(4, 3, 3, 3\), .* do not contribute to the logits"):
        optimizer.step()
