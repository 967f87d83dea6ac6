"""Faults in what is done with trained networks: pictures, exports, drawing, corruptions, calibration."""

from tests.mutants.fault import REAL_RECORDS, fault

FOLDING, EXPORTS = "mnist_compact/deploy/folding.py", "tests/deploy/test_exports.py"
QUANTIZATION, QUANTIZATIONS = "mnist_compact/deploy/quantization.py", "tests/deploy/test_quantization.py"
PREPROCESSING, PREPROCESSINGS = "mnist_compact/deploy/preprocessing.py", "tests/deploy/test_preprocessing.py"
DRAWING, DRAWINGS = "mnist_compact/deploy/drawing_page.py", "tests/deploy/test_draw.py"
CORRUPTIONS, CORRUPTION_TESTS = "mnist_compact/robustness/corruptions.py", "tests/robustness/test_corruptions.py"
MEASURES, MEASURE_TESTS = "mnist_compact/robustness/measures.py", "tests/robustness/test_measures.py"
EVALUATION, EVALUATIONS = "mnist_compact/training/evaluation.py", "tests/training/test_evaluation.py"


FAULTS = (
    fault(
        PREPROCESSING,
        "is_dark = (dark**2).sum() > (light**2).sum()",
        "is_dark = dark.sum() < 0",
        "pictures of dark digits on light paper are not inverted",
        PREPROCESSINGS,
    ),
    fault(
        PREPROCESSING,
        "CENTRE = SIDE / 2 + 0.5",
        "CENTRE = SIDE / 2 - 0.5",
        "digits are centred one pixel away from where MNIST has them",
        PREPROCESSINGS,
    ),
    fault(
        FOLDING,
        "norm.bias.detach().double() - slope * norm.running_mean.double()",
        "norm.bias.detach().double()",
        "the mean of a BatchNorm is lost in exports",
        EXPORTS,
    ),
    fault(
        FOLDING,
        "convolution.bias.detach() + (weight * shift).sum((1, 2, 3))",
        "convolution.bias.detach()",
        "the shift of a BatchNorm before a convolution is lost in exports",
        EXPORTS,
    ),
    fault(
        FOLDING,
        "isinstance(part, nn.Conv2d) and part.padding == (0, 0) and (at",
        "isinstance(part, nn.Conv2d) and (at",
        "a BatchNorm is folded into a padded convolution, which is wrong at the borders",
        EXPORTS,
    ),
    fault(
        QUANTIZATION,
        "(exact - found).mean((0, 2, 3))",
        "(found - exact).mean((0, 2, 3))",
        "the correction of biases doubles the error of quantisation",
        QUANTIZATIONS,
    ),
    fault(
        QUANTIZATION,
        "zero = round(-128 - low * at_low / scale)",
        "zero = 0",
        "half of the integers are unused for maps without negative values",
        QUANTIZATIONS,
    ),
    fault(
        DRAWING,
        "source.start - padding * source.jump",
        "source.start",
        "the page for drawing shows the receptive fields of padded layers at the wrong place",
        DRAWINGS,
    ),
    fault(
        CORRUPTIONS,
        "values.clamp_(0, 1).mul_(255)",
        "values.mul_(255)",
        "bright pixels of corrupted images become dark",
        CORRUPTION_TESTS,
    ),
    fault(
        CORRUPTIONS,
        "corruption.strengths[level - 1]",
        "corruption.strengths[-level]",
        "the strengths of a corruption are in the wrong order",
        CORRUPTION_TESTS,
    ),
    fault(
        MEASURES,
        "(predicted == labels)[confidence.argsort(descending=True, stable=True)]",
        "(predicted == labels)[confidence.argsort(stable=True)]",
        "the least confident images are answered first",
        MEASURE_TESTS,
    ),
    fault(
        MEASURES,
        "sum(each.images * abs(each.confidence - each.accuracy)",
        "sum(each.images * (each.confidence - each.accuracy)",
        "bins in which the network is too confident cancel those in which it is too cautious",
        MEASURE_TESTS,
    ),
    fault(
        EVALUATION,
        "F.cross_entropy(log_probabilities / temperature, split.labels)",
        "F.cross_entropy(log_probabilities * temperature, split.labels)",
        "the calibrated log-loss is that of the inverse temperature",
        EVALUATIONS,
    ),
    fault(
        EVALUATION,
        "(low, inverse) if slope > 0 else (inverse, high)",
        "(inverse, high) if slope > 0 else (low, inverse)",
        "the fit of the temperature leaves the range that contains the minimum",
        EVALUATIONS,
    ),
    fault(
        "mnist_compact/runs/artifacts.py",
        'calibrated_loss=row.get(f"{prefix}_calibrated_loss")',
        'calibrated_loss=row.get(f"{prefix}_loss")',
        "the record states the loss as calibrated loss",
        REAL_RECORDS,
    ),
    fault(
        "mnist_compact/confirmation/reranking.py",
        "return seed_results.failed, loss, 0.0",
        "return seed_results.failed, -loss, 0.0",
        "a ranking by calibrated loss puts the worst candidate first",
        "tests/confirmation/test_results.py",
    ),
    fault(
        "mnist_compact/cli/network_options.py",
        "if weights and path.is_file():",
        "if weights and not path:",
        "--weights is ignored in silence for a file of weights",
        "tests/deploy/test_predict.py",
    ),
)
