import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import nn

from mnist_compact.data.datasets import Split, make_synthetic
from mnist_compact.models.norm_dropout import NormDropout
from mnist_compact.training import evaluation
from mnist_compact.training.evaluation import estimate_batchnorm, evaluate, fitted_temperature, score
from mnist_compact.training.step import WeightAverage


def test_evaluate_scores_every_image_in_evaluation_mode(configure, monkeypatch):
    monkeypatch.setattr(evaluation, "BATCH", 32)  # several batches, the last one partial
    data = make_synthetic(50, 70, seed=0)
    torch.manual_seed(0)
    model = configure("model=m3", "model.dropout=0.5").model.build()
    model(torch.randn(64, 1, 28, 28))
    scored = evaluate(model, data)
    model.eval()
    images = ((data.evaluation.images / 255 - data.mean) / data.std).unsqueeze(1)
    with torch.no_grad():
        logits = model(images)
    assert scored.loss == pytest.approx(F.cross_entropy(logits, data.evaluation.labels).item(), rel=1e-5)
    assert torch.equal(scored.predicted, logits.argmax(1))
    torch.testing.assert_close(scored.confidence, logits.softmax(1).max(1).values)
    assert scored.correct == int((logits.argmax(1) == data.evaluation.labels).sum())
    assert scored.total == 70
    assert scored.accuracy == pytest.approx(100 * scored.correct / 70)


@pytest.mark.parametrize("factor", [0.06, 0.3, 1.0, 4.0, 15.0])
def test_fitted_temperature_agrees_with_scipy(factor):
    """Labels are drawn from the probabilities before the logits are scaled, so the temperature is near the factor."""
    logits = 3 * torch.randn(2000, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(2)).view(-1)

    def loss(temperature):
        return F.cross_entropy(factor * logits / temperature, labels).item()

    found = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-7}).x
    assert fitted_temperature((factor * logits).log_softmax(1), labels) == pytest.approx(found, rel=1e-4)
    assert found == pytest.approx(factor, rel=0.1)


def test_temperature_stays_in_its_range():
    logits = torch.tensor([[0.2, 0.0], [0.0, 0.2]])
    assert fitted_temperature(logits, torch.tensor([0, 1])) == pytest.approx(0.05)  # all answers are right
    assert fitted_temperature(logits, torch.tensor([1, 0])) == pytest.approx(20)  # all are wrong


def test_calibrated_loss_does_not_depend_on_the_scale_of_the_logits():
    """Label smoothing makes a network less confident, which changes its loss but not its calibrated loss."""
    logits = 3 * torch.randn(300, 10, generator=torch.Generator().manual_seed(1))
    labels = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(2)).view(-1)
    split = Split("holdout", torch.arange(300).view(-1, 1, 1).expand(-1, 28, 28).to(torch.int32), labels)
    confident, cautious = (
        score(lambda images, scale=scale: scale * logits[images[:, 0, 0].long()], split) for scale in (1.0, 0.3)
    )
    assert cautious.loss > confident.loss + 0.1
    assert cautious.calibrated_loss == pytest.approx(confident.calibrated_loss, rel=1e-5)
    assert confident.calibrated_loss < confident.loss


def test_estimated_statistics_are_those_of_each_norm_input(configure):
    """Independent reference: hooks collect every norm's input under batch normalisation of one whole batch."""
    torch.manual_seed(0)
    model = configure("model=m3", "model.dropout=0.5").model.build()
    images = torch.randn(40, 1, 28, 28)
    estimate_batchnorm(model, [images])
    statistics = [(norm.running_mean.clone(), norm.running_var.clone(), norm.momentum) for norm in norms(model)]
    seen = []
    for layer in model.modules():
        if isinstance(layer, NormDropout):
            layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].relu()))  # m3 applies ReLU first
    model.eval()
    for norm in norms(model):
        norm.train()
    with torch.no_grad():
        model(images)
    assert len(seen) == len(statistics) == 7
    for x, (mean, variance, momentum) in zip(seen, statistics, strict=True):
        torch.testing.assert_close(mean, x.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(variance, x.var((0, 2, 3)), rtol=1e-3, atol=1e-4)
        assert momentum == 0.1


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def test_estimated_statistics_average_all_batches_equally(configure):
    model = configure("model=m2").model.build()
    batches = list(torch.randn(3, 16, 1, 28, 28))
    means = []
    for batch in batches:
        estimate_batchnorm(model, [batch])
        means.append(norms(model)[0].running_mean.clone())
    estimate_batchnorm(model, batches)
    torch.testing.assert_close(norms(model)[0].running_mean, torch.stack(means).mean(0))


def test_weight_average_is_exponential_from_the_first_weights():
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, 0.9)
    expected = None
    for value in (1.0, 2.0, 4.0):
        nn.init.constant_(model.weight, value)
        average.update(model)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
    assert average.module.weight.item() == pytest.approx(expected)
