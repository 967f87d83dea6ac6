"""From a confirmation to an entry of the zoo: the median seed's weights, with what is known of them."""

import csv
import dataclasses
import shutil
from pathlib import Path
from typing import Any

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import LAYERS
from mnist_compact.confirmation.results import SeedResult, SeedResults
from mnist_compact.confirmation.save_experiment import check_free, check_name
from mnist_compact.confirmation.seed_pool import home_of
from mnist_compact.records.record import RunRecord
from mnist_compact.zoo.card_text import told
from mnist_compact.zoo.classifier import ENDING, file_of_run
from mnist_compact.zoo.registry import Card

FEWEST = 20  # seeds: what a headline number is the mean of
VERSIONS = ("mnist-compact", "torch", "numpy", "numba")


def publish(folder: Path, seeds: list[int], name: str, to: Path, *, replace: bool = False) -> Card:
    """Write `to`/`name`.safetensors, .json and .md from a confirmation's folder.

    Raises ConfigError unless it is of the test split, with at least FEWEST seeds and all of them completed; for a name
    that cannot be typed, and for an entry that is there, unless it is to `replace`.
    """
    check_name("--add", name)
    if not replace:
        for ending in (ENDING, ".json", ".md"):
            check_free(to / f"{name}{ending}", "; --replace writes over it")
    seed_results = SeedResults.gather(folder, seeds)
    about = seed_results.confirmation
    if about.split != "test":
        raise ConfigError([f"the zoo's figures are of the test split; {about.name} is scored on {about.split}"])
    if len(seed_results.accuracies) < max(FEWEST, len(seeds)):
        raise ConfigError(
            [
                f"the zoo wants at least {FEWEST} seeds, all completed; {about.name} has "
                f"{len(seed_results.accuracies)} completed and {seed_results.failed} not"
            ]
        )
    chosen = median_seed(seed_results)
    home = home_of(folder, chosen.seed)
    card = _card(name, seed_results, chosen, RunRecord.read(home), home)
    _write(card, file_of_run(home), to)
    return card


def _write(card: Card, weights: Path, to: Path) -> None:
    """All files are whole before the first takes its place. That of the weights, which makes the entry, is last."""
    with (
        replacing(to / f"{card.name}{ENDING}") as network,
        replacing(to / f"{card.name}.json") as for_programs,
        replacing(to / f"{card.name}.md") as for_people,
    ):
        shutil.copyfile(weights, network)
        for_programs.write_text(card.as_json(), encoding="utf-8")
        for_people.write_text(told(card), encoding="utf-8")


def median_seed(seed_results: SeedResults) -> SeedResult:
    """The one in the middle by accuracy, then by lower loss; of an even number the lower of the middle two."""
    ranked = sorted(
        (result.score.accuracy, -result.score.loss, result.seed, result)
        for result in seed_results.completed
        if result.score
    )
    return ranked[(len(ranked) - 1) // 2][-1]


def _card(name: str, seed_results: SeedResults, chosen: SeedResult, record: RunRecord, home: Path) -> Card:
    assert chosen.score is not None
    with (home / LAYERS).open(newline="", encoding="utf-8") as file:
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
    """What the seed was trained by; of the packages those whose arithmetic it is."""
    packages = {name: version for name, version in environment["versions"].items() if name in VERSIONS}
    changed = ", with uncommitted changes" if environment["git_dirty"] else ""
    commit = f"{environment['git_commit'] or 'unknown'}{changed}"
    return {"python": environment["python"], **packages, "commit": commit}
