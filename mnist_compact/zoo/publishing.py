"""Publishing a confirmation in the zoo: the weights of the median seed and their model card."""

import csv
import dataclasses
import shutil
from pathlib import Path
from typing import Any

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import LAYERS, WEIGHTS_SUFFIX
from mnist_compact.confirmation.results import SeedResult, SeedResults
from mnist_compact.confirmation.save_experiment import check_free, check_name
from mnist_compact.confirmation.seed_pool import seed_folder
from mnist_compact.records.record import RunRecord
from mnist_compact.zoo.card_text import to_markdown
from mnist_compact.zoo.classifier import file_of_run
from mnist_compact.zoo.registry import Card

FEWEST = 20  # seeds that a headline number must be the mean of
VERSIONS = ("mnist-compact", "torch", "numpy", "numba")


def publish(folder: Path, seeds: list[int], name: str, to: Path, *, replace: bool = False) -> Card:
    """Write `to`/`name`.safetensors, .json and .md from the folder of a confirmation.

    Args:
        folder: Folder of a confirmation on the test split.
        seeds: All its seeds.
        name: Name of the entry: letters, digits, - and _.
        to: Folder to write into.
        replace: Whether an existing entry may be replaced.

    Returns:
        The model card.

    Raises:
        ConfigError: The split is not the test split, fewer than `FEWEST` seeds were completed or one was not, the name
            is not allowed, or the entry exists.
    """
    check_name("--add", name)
    if not replace:
        for suffix in (WEIGHTS_SUFFIX, ".json", ".md"):
            check_free(to / f"{name}{suffix}", "; use --replace to replace the entry")
    seed_results = SeedResults.gather(folder, seeds)
    about = seed_results.confirmation
    if about.split != "test":
        raise ConfigError(
            [f"the zoo requires a confirmation on the test split; {about.name} is scored on {about.split}"]
        )
    if len(seed_results.accuracies) < max(FEWEST, len(seeds)):
        raise ConfigError(
            [
                f"the zoo requires at least {FEWEST} seeds, all of them completed; {about.name} has "
                f"{len(seed_results.accuracies)} completed and {seed_results.failed} not"
            ]
        )
    chosen = median_seed(seed_results)
    run = seed_folder(folder, chosen.seed)
    card = _card(name, seed_results, chosen, RunRecord.read(run), run)
    _write(card, file_of_run(run), to)
    return card


def add_robustness(card: Card, figures: dict[str, float], to: Path) -> None:
    """Write a card again, with measured figures.

    Args:
        card: The card of an entry.
        figures: As `Robustness.summary` returns them.
        to: Folder of the entry.
    """
    card = dataclasses.replace(card, robustness=figures)
    with replacing(to / f"{card.name}.json") as card_json, replacing(to / f"{card.name}.md") as card_markdown:
        card_json.write_text(card.as_json(), encoding="utf-8")
        card_markdown.write_text(to_markdown(card), encoding="utf-8")


def _write(card: Card, weights: Path, to: Path) -> None:
    """Write all files completely before the first is renamed. The weights, which define the entry, are renamed last."""
    with (
        replacing(to / f"{card.name}{WEIGHTS_SUFFIX}") as network,
        replacing(to / f"{card.name}.json") as card_json,
        replacing(to / f"{card.name}.md") as card_markdown,
    ):
        shutil.copyfile(weights, network)
        card_json.write_text(card.as_json(), encoding="utf-8")
        card_markdown.write_text(to_markdown(card), encoding="utf-8")


def median_seed(seed_results: SeedResults) -> SeedResult:
    """Return the seed with the median accuracy, the lower one of the middle two; ties are broken by loss."""
    ranked = sorted(
        (result.score.accuracy, -result.score.loss, result.seed, result)
        for result in seed_results.completed
        if result.score
    )
    return ranked[(len(ranked) - 1) // 2][-1]


def _card(name: str, seed_results: SeedResults, chosen: SeedResult, record: RunRecord, run: Path) -> Card:
    assert chosen.score is not None
    with (run / LAYERS).open(newline="", encoding="utf-8") as file:
        layers = list(csv.DictReader(file))
    completed = seed_results.completed
    return Card(
        name=name,
        config=record.config,
        parameters=record.network.parameters,
        macs=record.network.macs,
        receptive_field=record.network.receptive_field,
        layers=layers,
        seed=chosen.seed,
        choice=f"the median of {len(completed)} seeds by test accuracy, the lower one of the middle two",
        weights=chosen.score.weights,
        correct=chosen.score.correct,
        total=chosen.score.total,
        loss=chosen.score.loss,
        evidence=dataclasses.asdict(seed_results.summary()),
        accuracies={str(result.seed): result.score.accuracy for result in completed if result.score},
        source=seed_results.confirmation.source,
        minutes={machine: round(time, 2) for machine, time in seed_results.minutes().items()},
        versions=_versions(record.environment),
    )


def _versions(environment: dict[str, Any]) -> dict[str, str]:
    """Return the versions that the seed was trained with: Python, the packages that compute, and the commit."""
    packages = {name: version for name, version in environment["versions"].items() if name in VERSIONS}
    changed = ", with uncommitted changes" if environment["git_dirty"] else ""
    commit = f"{environment['git_commit'] or 'unknown'}{changed}"
    return {"python": environment["python"], **packages, "commit": commit}
