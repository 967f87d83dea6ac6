"""Model cards of the zoo as Markdown."""

import yaml

from mnist_compact.common.statistics import THRESHOLD, above, minutes_text
from mnist_compact.common.wording import counted
from mnist_compact.zoo.registry import Card

LIMITS = """\
The network is made for MNIST and was measured on its 10,000 test images only: grey, 28×28 px, one light digit on a dark
background, centred by its centre of mass. It was not tested on photographs, other pens, other alphabets or empty
images, and it always returns some digit. The test images are public and widely used. The search chose configurations by
images held out of the training set, but some of its hand-made starting points had been scored on the test images."""
LAYER_COLUMNS = {
    "layer": "layer",
    "out_channels": "output channels",
    "out_height": "output side (px)",
    "kernel": "kernel (px)",
    "parameters": "parameters",
    "macs": "multiply-accumulates",
    "receptive_field": "receptive field (px)",
}


def to_markdown(card: Card) -> str:
    """Write a model card as Markdown. Equal cards give equal texts."""
    parts = [
        f"# {card.name}",
        f"A network for the digits of MNIST with {card.parameters:,} parameters and {card.macs:,} multiply-accumulate "
        "operations per image.",
        _claim(card),
        f"The weights are those of seed {card.seed}. They classify {card.correct:,} of {card.total:,} test images "
        f"correctly ({card.accuracy:.2f} %), with log-loss {card.loss:.4f}. The seed is {card.choice}.",
        "This command reproduces the figure:",
        f"    python -m mnist_compact.evaluate --zoo {card.name}",
        "In Python, `from mnist_compact import load` and "
        f'`load("{card.name}").classify(images)` return the digits and their probabilities.',
        "## Layers",
        _layers(card),
        "## Recipe",
        f"{counted(card.config['train']['epochs'], 'epoch')} on the 60,000 training images, "
        f"{minutes_text(card.minutes)}. The configuration comes from {card.source}.",
        _recipe(card),
        "## Results of all seeds",
        f"Test accuracy of each seed in per cent: {', '.join(f'{seed:.2f}' for seed in card.accuracies.values())}. "
        f"Versions: {', '.join(f'{name} {version}' for name, version in card.versions.items())}.",
        *_robustness(card),
        "## Limits",
        LIMITS,
        "## Licence",
        "MIT, like the project. Trained on MNIST (Y. LeCun, C. Cortes, C. J. C. Burges).",
    ]
    return "\n\n".join(parts) + "\n"


def _claim(card: Card) -> str:
    summary, seeds_above = card.evidence, above(card.accuracies.values(), THRESHOLD)
    return (
        f"**{summary['mean']:.3f} ± {summary['sd']:.3f} %** test accuracy: mean ± standard deviation over "
        f"{summary['n']} fresh seeds at the last epoch, {card.weights} weights; 95 % interval of the mean "
        f"{summary['low']:.3f}–{summary['high']:.3f}, lowest {summary['minimum']:.2f}, highest "
        f"{summary['maximum']:.2f}, {seeds_above} of {summary['n']} above {THRESHOLD:.2f}."
    )


def _robustness(card: Card) -> list[str]:
    if not card.robustness:
        return []
    figures = card.robustness
    return [
        "## Robustness",
        f"Mean accuracy on corrupted test images {figures['mean_corrupted']:.2f} % (ten corruptions in five "
        f"strengths). Expected calibration error {figures['calibration_error']:.2f} %. Log-loss "
        f"{figures['calibrated_loss']:.5f} after division of the logits by the fitted temperature "
        f"{figures['temperature']:.3f}. This command measures them again:",
        f"    python -m mnist_compact.evaluate --zoo {card.name} --robust",
    ]


def _layers(card: Card) -> str:
    rows = [
        " | ".join(LAYER_COLUMNS.values()),
        "|".join(["---"] + ["---:"] * (len(LAYER_COLUMNS) - 1)),
        *(" | ".join(row[column] for column in LAYER_COLUMNS) for row in card.layers),
    ]
    return "\n".join(f"| {row} |" for row in rows)


def _recipe(card: Card) -> str:
    recipe = {key: value for key, value in card.config.items() if key not in ("data", "seed", "experiment", "budget")}
    return f"```yaml\n{yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)}```"
