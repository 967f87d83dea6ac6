"""Tables and the HTML page of the measurements of one network."""

import base64
import html
import io
from typing import TYPE_CHECKING

import pandas as pd
import torch

from mnist_compact.common.tables import NUMBERS, STYLE, to_html_fragment, to_text
from mnist_compact.data.datasets import Split
from mnist_compact.robustness.corruptions import CORRUPTIONS, corrupted
from mnist_compact.robustness.measures import BINS, LEVELS, Robustness

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HARDEST_IN_A_ROW = 10
DPI = 110


def corruption_table(measured: Robustness) -> pd.DataFrame:
    """Return one row for each corruption: accuracies (per cent) at strengths 1 to 5, their mean, what is varied."""
    rows = [
        {
            "corruption": name,
            **{f"accuracy {level}": accuracies[level - 1] for level in LEVELS},
            "mean accuracy": sum(accuracies) / len(accuracies),
            "strengths": ", ".join(f"{strength:g}" for strength in CORRUPTIONS[name].strengths),
            "meaning": CORRUPTIONS[name].meaning,
        }
        for name, accuracies in measured.corrupted.items()
    ]
    return pd.DataFrame(rows)


def abstention_table(measured: Robustness) -> pd.DataFrame:
    """Return one row for each share of images that are answered: the share and the accuracy on them, in per cent."""
    rows = [{"answered %": f"{share:.1f}", "accuracy": accuracy} for share, accuracy in measured.abstention]
    return pd.DataFrame(rows)


def calibration_text(measured: Robustness) -> str:
    """Return the calibration in one paragraph."""
    return (
        f"Expected calibration error {measured.calibration_error:.2f} % ({BINS} bins). Log-loss {measured.loss:.5f}; "
        f"{measured.calibrated_loss:.5f} after division of the logits by the fitted temperature "
        f"{measured.temperature:.3f}."
    )


def to_terminal(measured: Robustness) -> str:
    """Return all figures as plain text."""
    corruptions = corruption_table(measured).drop(columns=["meaning"])
    return (
        f"Accuracy in per cent on corrupted {measured.split} images, at strengths 1 to 5\n\n{to_text(corruptions)}\n"
        f"Mean over all corruptions and strengths: {measured.mean_corrupted:.2f} % "
        f"({measured.accuracy:.2f} % without corruption).\n{calibration_text(measured)}\n\n"
        f"Accuracy when only the most confident images are answered\n\n{to_text(abstention_table(measured))}"
    )


def to_page(measured: Robustness, split: Split, title: str) -> str:
    """Write a self-contained HTML page with all figures and pictures.

    Args:
        measured: The measurements.
        split: The images that were measured.
        title: The name of the network.
    """
    parts = [
        f"<h1>{html.escape(title)}: robustness and calibration</h1>",
        f"<p>{measured.accuracy:.2f} % of the {measured.images:,} {measured.split} images are classified correctly. "
        "Nothing on this page was used to choose the network.</p>",
        "<h2>Corrupted images</h2>",
        f"<p>Mean over all corruptions and strengths: {measured.mean_corrupted:.2f} %.</p>",
        to_html_fragment(corruption_table(measured)),
        _picture(_corruption_figure(measured), "Accuracy against the strength of each corruption"),
        _picture(_example_figure(split), "One image with every corruption in five strengths"),
        "<h2>Calibration</h2>",
        f"<p>{calibration_text(measured)}</p>",
        _picture(_reliability_figure(measured), "Accuracy against confidence, and the number of images in each bin"),
        "<h2>Abstention</h2>",
        "<p>Accuracy when only the most confident images are answered:</p>",
        to_html_fragment(abstention_table(measured)),
        f"<h2>The {len(measured.hardest)} hardest images</h2>",
        "<p>The images with the largest log-loss, hardest first: label→prediction, and the image's number.</p>",
        _picture(_hardest_figure(measured, split), "The hardest images with label, prediction and number"),
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>\n{STYLE}\nimg {{ max-width: 100% }}\ntd:nth-child(-n+7):not(:first-child) {NUMBERS}\n</style>\n"
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _picture(figure: "Figure", meaning: str) -> str:
    file = io.BytesIO()
    figure.savefig(file, dpi=DPI, format="png", metadata={"Software": None})
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<p><img alt="{html.escape(meaning)}" src="data:image/png;base64,{encoded}"></p>'


def _corruption_figure(measured: Robustness) -> "Figure":
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axis = figure.subplots()
    for index, (name, accuracies) in enumerate(measured.corrupted.items()):
        colour = colormaps["tab10"](index % 10)
        axis.plot((0, *LEVELS), (measured.accuracy, *accuracies), marker="o", color=colour, label=name)
    axis.set_xticks((0, *LEVELS))
    axis.set_xlabel("strength (0: without corruption)")
    axis.set_ylabel("accuracy, %")
    axis.set_ylim(0, 102)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left", ncols=2)
    return figure


def _example_figure(split: Split) -> "Figure":
    from matplotlib.figure import Figure

    image = split.images[:1]
    rows = [torch.cat([image[0], *(corrupted(image, name, level)[0] for level in LEVELS)], 1) for name in CORRUPTIONS]
    side = image.shape[-1]
    figure = Figure(figsize=(6.5, 0.8 * len(rows)), layout="constrained")
    axis = figure.subplots()
    axis.imshow(torch.cat(rows, 0).numpy(), cmap="gray_r", vmin=0, vmax=255)
    axis.set_yticks([side * (row + 0.5) for row in range(len(rows))], list(CORRUPTIONS))
    axis.set_xticks([side * (column + 0.5) for column in range(len(LEVELS) + 1)], ["none", *map(str, LEVELS)])
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    return figure


def _reliability_figure(measured: Robustness) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = [each for each in measured.reliability if each.images]
    middles, width = [(each.low + each.high) / 2 for each in bins], 0.9 / BINS
    upper.bar(middles, [each.accuracy for each in bins], width, label="accuracy", color="tab:blue")
    upper.plot((0, 1), (0, 1), "--", color="0.5", label="perfect calibration")
    upper.set_ylabel("accuracy")
    upper.legend(loc="upper left")
    lower.bar(middles, [each.images for each in bins], width, color="0.6")
    lower.set_yscale("log")
    lower.set_ylabel("images")
    lower.set_xlabel("confidence")
    lower.set_xlim(0, 1)
    return figure


def _hardest_figure(measured: Robustness, split: Split) -> "Figure":
    from matplotlib.figure import Figure

    count = len(measured.hardest)
    rows = max(1, -(-count // HARDEST_IN_A_ROW))
    figure = Figure(figsize=(11, 1.25 * rows), layout="constrained")
    axes = figure.subplots(rows, HARDEST_IN_A_ROW, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, index, digit in zip(axes, measured.hardest.tolist(), measured.predicted.tolist(), strict=False):
        axis.imshow(split.images[index].numpy(), cmap="gray_r", vmin=0, vmax=255)
        label, given = split.classes[int(split.labels[index])], split.classes[digit]
        axis.set_title(f"{label}→{given} #{index}", fontsize=8, parse_math=False)
    return figure
