"""The figures in the documents agree with the records in evidence/, from which they are computed again."""

import re
from pathlib import Path

import pytest

from mnist_compact.common.statistics import threshold_text
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.confirmation.save_experiment import header
from mnist_compact.confirmation.seed_pool import seed_folder, seeds_of
from mnist_compact.records.record import RunRecord
from mnist_compact.zoo import registry
from mnist_compact.zoo.publishing import FEWEST, median_seed

ROOT = Path(__file__).parents[2]


def gathered(folder):
    return SeedResults.gather(folder, seeds_of(folder))


HEADLINES = [
    folder
    for folder in sorted(ROOT.glob("evidence/*/confirmations/*"))
    if not (found := gathered(folder)).confirmation.ranking and len(found.requested) >= FEWEST
]
EXPERIMENTS = [folder for folder in HEADLINES if (ROOT / f"conf/experiment/{folder.name}.yaml").exists()]
ENTRIES = [folder for folder in HEADLINES if folder.name in registry.names()]


def named(folders):
    return pytest.mark.parametrize("folder", folders, ids=lambda folder: folder.name)


def read(*parts):
    """A document on one line, without marks of emphasis."""
    return " ".join(ROOT.joinpath(*parts).read_text(encoding="utf-8").replace("**", "").split())


def test_committed_evidence_is_found():
    for folders in (EXPERIMENTS, ENTRIES):
        assert {"under_8k", "under_8k_plain", "fast"} <= {folder.name for folder in folders}


@named(HEADLINES)
def test_readme_of_a_search_agrees_with_its_records(folder):
    seed_results, text = gathered(folder), read(folder.parents[1], "README.md")
    summary = seed_results.summary()
    start = text.index(f"{summary.mean:.3f} ± {summary.sd:.3f} %")
    threshold = re.escape(threshold_text(seed_results.threshold))
    claim = re.split(rf"{threshold}(?!\d)", text[start:])[0]  # an interval may end at 99.406
    assert f"{summary.low:.3f}–{summary.high:.3f}" in claim
    assert f"lowest {summary.minimum:.2f}" in claim
    assert f"{seed_results.above()} of {summary.n}" in claim
    assert " | ".join(f"{accuracy:.2f}" for accuracy in seed_results.accuracies) in text


@named(EXPERIMENTS)
def test_header_of_an_experiment_agrees_with_its_records(folder):
    written = (ROOT / f"conf/experiment/{folder.name}.yaml").read_text(encoding="utf-8").splitlines()
    lines = header(gathered(folder))
    assert written[1 : 1 + len(lines)] == [f"# {line}" for line in lines]


@named(EXPERIMENTS)
@pytest.mark.parametrize("document", ["README.md", "docs/results.md"])
def test_tables_of_results_agree_with_the_records(folder, document):
    seed_results, lines = gathered(folder), (ROOT / document).read_text(encoding="utf-8").splitlines()
    summary = seed_results.summary()
    rows = [line.replace("**", "") for line in lines if re.match(rf"\| \[?`{folder.name}`", line)]
    if document == "README.md" and not rows:
        pytest.skip("the table of README.md has six networks")
    (row,) = rows
    assert f"{summary.mean:.3f} ± {summary.sd:.3f} %" in row
    assert f"| {seed_results.completed[0].parameters:,} |" in row
    if document == "docs/results.md":
        above = f"{seed_results.above()} of {summary.n} above {threshold_text(seed_results.threshold)}"
        assert f", lowest {summary.minimum:.2f}; {above} |" in row


def test_claim_of_the_readme_agrees_with_the_records():
    seed_results = gathered(ROOT / "evidence/under_8k/confirmations/under_8k")
    summary, text = seed_results.summary(), read("README.md")
    start = text.index(
        f"{summary.mean:.3f} ± {summary.sd:.3f} % test accuracy with {seed_results.completed[0].parameters:,}"
    )
    assert (
        f"lowest {summary.minimum:.2f}, {seed_results.above()} of {summary.n} above 99.40" in text[start : start + 300]
    )


@named(ENTRIES)
def test_model_card_agrees_with_the_records(folder):
    seed_results, card = gathered(folder), registry.card(folder.name)
    assert card.accuracies == {str(seed): accuracy for seed, accuracy in seed_results.accuracy_by_seed().items()}
    assert card.evidence["mean"] == pytest.approx(seed_results.summary().mean)
    chosen = median_seed(seed_results)
    assert (card.seed, card.correct, card.loss) == (chosen.seed, chosen.score.correct, chosen.score.loss)
    environment = RunRecord.read(seed_folder(folder, card.seed)).environment
    changed = ", with uncommitted changes" if environment["git_dirty"] else ""
    assert card.versions["commit"] == f"{environment['git_commit']}{changed}"
