"""The records of a confirmation as a small folder that can be committed; reports read it as they read outputs/."""

import shutil
from pathlib import Path

from mnist_compact.atomic import replacing
from mnist_compact.confirm.crew import home_of
from mnist_compact.confirm.evidence import Evidence
from mnist_compact.confirm.plans import FILENAME as PLAN
from mnist_compact.results.finding import CONFIRMED
from mnist_compact.run_files import CORRECT, METRICS, RECORD

# Of every seed what was measured; weights and pictures are left behind.
KEPT = (RECORD, METRICS)
KEPT_WHERE_THERE = (CORRECT,)  # earlier versions wrote none


def export(evidence: Evidence, folder: Path, to: Path) -> Path:
    """Copy what is confirmed, its plan and the seeds' records into `to`/confirmations/<name>, which is returned."""
    place = to / "confirmations" / evidence.confirmation.name
    place.mkdir(parents=True, exist_ok=True)
    _copy(folder / CONFIRMED, place / CONFIRMED)
    if evidence.plan is not None:
        _copy(folder / PLAN, place / PLAN)
    for result in evidence.seeds:
        home, there = home_of(folder, result.seed), home_of(place, result.seed)
        there.mkdir(parents=True, exist_ok=True)
        for name in (*KEPT, *(name for name in KEPT_WHERE_THERE if (home / name).exists())):
            _copy(home / name, there / name)
    return place


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as beside:
        shutil.copyfile(source, beside)
