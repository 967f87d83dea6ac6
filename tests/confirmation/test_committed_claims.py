"""What documents claim about published results and about the use of the test images agrees with the data kept here."""

import re
from pathlib import Path

import pytest

from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.records.discovery import EXPORTED
from mnist_compact.reports.published import published
from mnist_compact.reports.tables import load_runs
from mnist_compact.search import transfer

ROOT = Path(__file__).parents[2]
# Published results that contradicted earlier claims of this project.
CONTRADICTING = {(3762, 99.52), (4838, 99.42), (6128, 99.44), (6720, 99.50), (6750, 99.50), (7496, 99.56)}


def read(*parts):
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def minute(time):
    return f"{time:%Y-%m-%d %H:%M}"


def shown(time):
    """An exported trial's time, cut to the minute."""
    return time[:16].replace("T", " ")


def test_published_results_hold_the_contradicting_ones():
    last = {(row["parameters"], row["accuracy"]) for row in published() if row["at"] == "last"}
    assert last >= CONTRADICTING


@pytest.mark.parametrize("document", ["README.md", "evidence/under_8k/README.md"])
def test_documents_name_the_best_published_result_below_8000(document):
    best = max((row for row in published() if row["parameters"] < 8000), key=lambda row: row["accuracy"])
    assert f"{best['accuracy']:.2f} % at {best['parameters']:,}" in read(document)


@pytest.mark.parametrize("document", ["README.md", "evidence/smallest/README.md"])
def test_documents_name_the_smallest_published_network(document):
    above = [row for row in published() if row["accuracy"] > THRESHOLD and not row["bound"]]
    smallest = min(above, key=lambda row: row["parameters"])
    text = read(document)
    assert f"{smallest['parameters']:,} parameters reached {smallest['accuracy']:.2f} %" in text
    assert re.search(r"mean\s+over 20 fresh seeds", text)


def test_evidence_lists_when_confirmations_read_the_test_images():
    runs = load_runs(ROOT / "evidence")
    runs = runs[(runs["evaluated"] == "test") & runs["confirmation"].notna()]
    rows = {
        name: (len(seeds), minute(seeds["started_at"].min()), minute(seeds["finished_at"].max()))
        for name, seeds in runs.groupby("confirmation")
    }
    listed = re.findall(
        r"^\| \[`(\w[\w-]*)`\].*?\| (\d+) \| ([\d :-]+) \| ([\d :-]+) \|$", read("evidence/README.md"), re.M
    )
    assert {name: (int(seeds), first, last) for name, seeds, first, last in listed} == rows


@pytest.mark.parametrize("path", sorted(ROOT.glob(f"evidence/*/*{EXPORTED}")), ids=lambda path: path.name)
def test_evidence_lists_when_studies_ran(path):
    name = path.name.removesuffix(EXPORTED)
    trials = transfer.read(path)["trials"]
    first = min(trial["start"] for trial in trials if trial["start"])
    last = max(trial["end"] for trial in trials if trial["end"])
    assert f"| `{name}` | {shown(first)} | {shown(last)} |" in read("evidence/README.md")
