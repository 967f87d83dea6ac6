"""The records of a confirmation as a small folder that can be committed; reports read it as they read outputs/."""

import shutil
from pathlib import Path

from mnist_compact.common.atomic import replacing
from mnist_compact.common.run_files import CORRECT, METRICS, RECORD
from mnist_compact.confirmation.preregistration import FILENAME as PLAN
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.confirmation.seed_pool import home_of
from mnist_compact.records.discovery import CONFIRMED

# Of every seed what was measured; weights and pictures are left behind.
KEPT = (RECORD, METRICS)
KEPT_WHERE_THERE = (CORRECT,)  # earlier versions wrote none


def export(seed_results: SeedResults, folder: Path, to: Path) -> Path:
    """Copy what is confirmed, its plan and the seeds' records into `to`/confirmations/<name>, which is returned."""
    place = to / "confirmations" / seed_results.confirmation.name
    place.mkdir(parents=True, exist_ok=True)
    _copy(folder / CONFIRMED, place / CONFIRMED)
    if seed_results.plan is not None:
        _copy(folder / PLAN, place / PLAN)
    for result in seed_results.seeds:
        home, there = home_of(folder, result.seed), home_of(place, result.seed)
        there.mkdir(parents=True, exist_ok=True)
        for name in (*KEPT, *(name for name in KEPT_WHERE_THERE if (home / name).exists())):
            _copy(home / name, there / name)
    return place


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as beside:
        shutil.copyfile(source, beside)
