"""A card of the zoo as Markdown, for people."""

import yaml

from mnist_compact.common.statistics import THRESHOLD, above, minutes_text
from mnist_compact.common.wording import counted
from mnist_compact.zoo.registry import Card

LIMITS = """\
Made for MNIST and measured on its 10,000 test images alone: grey, 28×28 px, light on dark, one digit, centred by its
mass. Photographs, other pens, other alphabets or empty images are outside of what it was tried on, and it always
answers with some digit. The test images are the field's common ones, looked at by many, also where a search's hand-made
starting points come from; the search itself chose on images held out of the training set."""
LAYER_COLUMNS = {
    "layer": "layer",
    "out_channels": "channels",
    "out_height": "side",
    "kernel": "kernel",
    "parameters": "parameters",
    "macs": "multiply-accumulates",
    "receptive_field": "receptive field",
}


def told(card: Card) -> str:
    """The card's text; equal cards give equal texts."""
    parts = [
        f"# {card.name}",
        f"A network of {card.parameters:,} parameters and {card.macs:,} multiply-accumulates an image for MNIST's "
        "digits.",
        _claim(card),
        f"These weights are seed {card.seed}'s: {card.correct:,} of {card.total:,} test images right "
        f"({card.accuracy:.2f} %), log-loss {card.loss:.4f}. The seed is {card.choice}.",
        f"    python -m mnist_compact.evaluate --zoo {card.name}",
        "reproduces that figure; in Python, `from mnist_compact import load` and "
        f'`load("{card.name}").classify(images)` give digits and probabilities.',
        "## Layers",
        _layers(card),
        "## Recipe",
        f"{counted(card.config['train']['epochs'], 'epoch')} on the 60,000 training images, "
        f"{minutes_text(card.minutes)}. The configuration is from {card.source}.",
        _recipe(card),
        "## SeedResults",
        f"Test accuracy of every seed, in per cent: {', '.join(f'{seed:.2f}' for seed in card.accuracies.values())}. "
        f"Versions: {', '.join(f'{name} {version}' for name, version in card.versions.items())}.",
        "## Limits",
        LIMITS,
        "## Licence",
        "MIT, as the project. Trained on MNIST (Y. LeCun, C. Cortes, C. J. C. Burges).",
    ]
    return "\n\n".join(parts) + "\n"


def _claim(card: Card) -> str:
    found, over = card.evidence, above(card.accuracies.values(), THRESHOLD)
    return (
        f"**{found['mean']:.3f} ± {found['sd']:.3f} %** test accuracy: mean ± standard deviation over {found['n']} "
        f"fresh seeds at the last epoch, {card.weights} weights; 95 % interval of the mean {found['low']:.3f}–"
        f"{found['high']:.3f}, lowest {found['minimum']:.2f}, highest {found['maximum']:.2f}, {over} of {found['n']} "
        f"above {THRESHOLD:.2f}."
    )


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
