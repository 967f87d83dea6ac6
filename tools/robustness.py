"""Measure every network of the zoo, and write docs/robustness.md and the model cards: `python -m tools.robustness`.

It reads the test images of MNIST and takes one to two minutes of one core for each network.
"""

from pathlib import Path

import pandas as pd

from mnist_compact.common.atomic import replacing
from mnist_compact.common.tables import to_markdown
from mnist_compact.config.conversion import from_record
from mnist_compact.robustness.corruptions import CORRUPTIONS
from mnist_compact.robustness.measures import LEVELS, Robustness, measure
from mnist_compact.zoo.evaluation import split_of
from mnist_compact.zoo.publishing import add_robustness
from mnist_compact.zoo.registry import card, load, names, zoo_folder

PAGE = Path(__file__).parents[1] / "docs/robustness.md"
INTRODUCTION = """<!-- Written by `python -m tools.robustness`. Run it again instead of changing this page. -->

# Robustness of the networks in the zoo

Each network is scored on corrupted test images of MNIST, in five strengths. The corruptions follow the choice of
MNIST-C ([Mu and Gilmer 2019](https://arxiv.org/abs/1906.02337)) but are computed by this project, so that the figures
cannot be compared with published ones on MNIST-C. Every network sees the same corrupted images. The weights are those
of one seed, the one in the zoo. Nothing on this page was used to choose a network.
[Measure the robustness of a network](how-to/measure-robustness.md) explains the measurements and how to make them for a
network of your own.
"""


def main() -> None:
    """Measure all networks and write the page."""
    measured = {}
    for name in names():
        print(name, flush=True)
        split = split_of(from_record(card(name).config).data)
        measured[name] = measure(load(name), split, lambda line: print(f"  {line}", flush=True))
        add_robustness(card(name), measured[name].summary(), zoo_folder())
    with replacing(PAGE) as temporary:
        temporary.write_text(page(measured), encoding="utf-8")
    print(PAGE.name)


def page(measured: dict[str, Robustness]) -> str:
    """Return the page as Markdown."""
    parts = [INTRODUCTION, "## Overview\n", to_markdown(overview(measured))]
    strengths = pd.DataFrame(
        [
            {"corruption": name, "strengths 1 to 5": ", ".join(f"{strength:g}" for strength in corruption.strengths)}
            | {"meaning": corruption.meaning}
            for name, corruption in CORRUPTIONS.items()
        ]
    )
    parts += ["## Corruptions\n", to_markdown(strengths)]
    for network, figures in measured.items():
        parts += [f"## {network}: accuracy in per cent\n", to_markdown(by_corruption(figures))]
    return "\n".join(parts)


def overview(measured: dict[str, Robustness]) -> pd.DataFrame:
    """Return one row for each network."""
    return pd.DataFrame(
        [
            {
                "network": name,
                "accuracy %": figures.accuracy,
                "mean accuracy, corrupted %": figures.mean_corrupted,
                "calibration error %": f"{figures.calibration_error:.2f}",
                "log-loss": f"{figures.loss:.5f}",
                "fitted temperature": f"{figures.temperature:.3f}",
                "calibrated log-loss": f"{figures.calibrated_loss:.5f}",
                "accuracy of the most confident 99 %": dict(figures.abstention)[99.0],
            }
            for name, figures in measured.items()
        ]
    )


def by_corruption(figures: Robustness) -> pd.DataFrame:
    """Return one row for each corruption."""
    return pd.DataFrame(
        [
            {"corruption": name, **{f"accuracy {level}": accuracies[level - 1] for level in LEVELS}}
            for name, accuracies in figures.corrupted.items()
        ]
    )


if __name__ == "__main__":
    main()
