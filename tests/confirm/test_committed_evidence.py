"""What documents claim is what the records in evidence/ say: their figures, computed once more, stand in the text."""

import re
from pathlib import Path

import pytest

from mnist_compact.confirm.crew import home_of, seeds_of
from mnist_compact.confirm.evidence import Evidence
from mnist_compact.confirm.saving import header
from mnist_compact.results.record import RunRecord
from mnist_compact.use import entries
from mnist_compact.use.publishing import FEWEST, median_seed

ROOT = Path(__file__).parents[2]


def gathered(folder):
    return Evidence.gather(folder, seeds_of(folder))


HEADLINES = [
    folder
    for folder in sorted(ROOT.glob("evidence/*/confirmations/*"))
    if not (found := gathered(folder)).confirmation.ranking and found.asked >= FEWEST
]
EXPERIMENTS = [folder for folder in HEADLINES if (ROOT / f"conf/experiment/{folder.name}.yaml").exists()]
ENTRIES = [folder for folder in HEADLINES if folder.name in entries.names()]


def named(folders):
    return pytest.mark.parametrize("folder", folders, ids=lambda folder: folder.name)


def read(*parts):
    """A document on one line, without marks of emphasis."""
    return " ".join(ROOT.joinpath(*parts).read_text(encoding="utf-8").replace("**", "").split())


def test_there_is_evidence_to_compare():
    for folders in (EXPERIMENTS, ENTRIES):
        assert {"under_8k", "under_8k_plain", "fast"} <= {folder.name for folder in folders}


@named(HEADLINES)
def test_the_readme_of_a_question_says_what_its_records_say(folder):
    evidence, text = gathered(folder), read(folder.parents[1], "README.md")
    told = evidence.summary()
    start = text.index(f"{told.mean:.3f} ± {told.sd:.3f} %")
    claim = re.split(r"99\.40(?!\d)", text[start:])[0]  # an interval may end at 99.406
    assert f"{told.low:.3f}–{told.high:.3f}" in claim
    assert f"lowest {told.minimum:.2f}" in claim
    assert f"{evidence.above()} of {told.n}" in claim
    assert " | ".join(f"{accuracy:.2f}" for accuracy in evidence.accuracies) in text


@named(EXPERIMENTS)
def test_the_header_of_an_experiment_says_what_its_records_say(folder):
    written = (ROOT / f"conf/experiment/{folder.name}.yaml").read_text(encoding="utf-8").splitlines()
    told = header(gathered(folder))
    assert written[1 : 1 + len(told)] == [f"# {line}" for line in told]


@named(EXPERIMENTS)
def test_the_readmes_table_says_what_the_records_say(folder):
    evidence, lines = gathered(folder), (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    told = evidence.summary()
    (row,) = [line.replace("**", "") for line in lines if line.startswith(f"| [`{folder.name}`]")]
    assert f"{told.mean:.3f} ± {told.sd:.3f} %, {told.minimum:.2f}; {evidence.above()} of {told.n} > 99.40" in row
    assert f"| {evidence.completed[0].parameters:,} |" in row


def test_the_readme_opens_with_what_the_records_say():
    evidence = gathered(ROOT / "evidence/under_8k/confirmations/under_8k")
    told, text = evidence.summary(), read("README.md")
    start = text.index(f"{told.mean:.3f} ± {told.sd:.3f} % test accuracy with {evidence.completed[0].parameters:,}")
    assert f"lowest {told.minimum:.2f}, {evidence.above()} of {told.n} above 99.40" in text[start : start + 300]


@named(ENTRIES)
def test_a_card_of_the_zoo_says_what_the_records_say(folder):
    evidence, card = gathered(folder), entries.card(folder.name)
    assert card.accuracies == {str(seed): accuracy for seed, accuracy in evidence.accuracy_by_seed().items()}
    assert card.evidence["mean"] == pytest.approx(evidence.summary().mean)
    chosen = median_seed(evidence)
    assert (card.seed, card.correct, card.loss) == (chosen.seed, chosen.score.correct, chosen.score.loss)
    made_by = RunRecord.read(home_of(folder, card.seed)).environment
    changed = ", with uncommitted changes" if made_by["git_dirty"] else ""
    assert card.versions["commit"] == f"{made_by['git_commit']}{changed}"
