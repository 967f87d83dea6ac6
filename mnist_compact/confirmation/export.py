"""The records of a confirmation as a small folder that can be committed; reports read it like outputs/."""

import shutil
from pathlib import Path

from mnist_compact.common.atomic import replacing
from mnist_compact.common.run_files import CORRECT, METRICS, RECORD
from mnist_compact.confirmation.preregistration import FILENAME as PLAN
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.confirmation.seed_pool import seed_folder
from mnist_compact.records.discovery import CONFIRMED

# The measurements of every seed. Weights and pictures are not exported.
EXPORTED_FILES = (RECORD, METRICS)
OPTIONAL_FILES = (CORRECT,)  # earlier versions did not write it


def export(seed_results: SeedResults, folder: Path, to: Path) -> Path:
    """Copy the confirmation, its preregistration and the records of its seeds.

    Args:
        seed_results: The results whose seeds are exported.
        folder: Folder of the confirmation.
        to: Folder to export into.

    Returns:
        The folder of the copy: `to`/confirmations/<name>.
    """
    target = to / "confirmations" / seed_results.confirmation.name
    target.mkdir(parents=True, exist_ok=True)
    _copy(folder / CONFIRMED, target / CONFIRMED)
    if seed_results.plan is not None:
        _copy(folder / PLAN, target / PLAN)
    for result in seed_results.seeds:
        run, copy = seed_folder(folder, result.seed), seed_folder(target, result.seed)
        copy.mkdir(parents=True, exist_ok=True)
        for name in (*EXPORTED_FILES, *(name for name in OPTIONAL_FILES if (run / name).exists())):
            _copy(run / name, copy / name)
    return target


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
