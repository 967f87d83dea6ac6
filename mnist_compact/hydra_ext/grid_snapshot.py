"""The configuration of every member of a grid as it was when the grid started, to detect later changes of files."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_compact.common.atomic import replacing
from mnist_compact.common.bounded_read import LARGE, gunzip, parse_json, read_bytes
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.nested import changes
from mnist_compact.common.wording import counted
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import RunConfig, to_record
from mnist_compact.records.record import RecordError, RunRecord
from mnist_compact.records.settings import MACHINE

SNAPSHOT = "configurations.json.gz"  # in the folder of the grid: a list of configurations in the order of the jobs


def write_snapshot(folder: Path, members: Sequence[RunConfig]) -> None:
    """Store the configurations of all members, whether they have started or not."""
    with replacing(folder / SNAPSHOT) as temporary:
        temporary.write_bytes(gzip.compress(json.dumps([to_record(run) for run in members]).encode()))


def check_unchanged(folder: Path, members: Sequence[tuple[RunConfig, Path]]) -> None:
    """Check that a grid that continues has the configurations with which it started; `machine` may differ.

    The files of the options may have been edited since then. The grid would mix runs with and without the changes.

    Args:
        folder: The folder of the grid. A grid of an earlier version has no snapshot there; then the members that have
            started are compared with their records.
        members: The configuration of each member now, and its run folder.

    Raises:
        ConfigError: A configuration has changed, or the snapshot is damaged.
    """
    snapshot = _stored(folder) or [_recorded(run_folder) for _, run_folder in members]
    if len(snapshot) != len(members):
        raise ConfigError(
            [f"{folder} was started with {counted(len(snapshot), 'job')} and now has {len(members)}; {_ADVICE}"]
        )
    faults = []
    for then, (run, run_folder) in zip(snapshot, members, strict=True):
        if then and (found := changes(then | {MACHINE: None}, to_record(run) | {MACHINE: None})):
            faults.append(f"{run_folder} was started with another configuration ({'; '.join(found)})")
    if faults:
        raise ConfigError(
            [f"{len(faults)} of {counted(len(members), 'job')} changed, so none was started:", *faults, _ADVICE]
        )


_ADVICE = "undo the changes in the options' files to finish the grid, or start a new grid"


def _stored(folder: Path) -> Sequence[dict[str, Any] | None] | None:
    """Read the snapshot, with the settings that were added since then; None if there is none."""
    path = folder / SNAPSHOT
    try:
        found = parse_json(gunzip(read_bytes(path, LARGE)))
        return [to_record(from_record(record)) for record in found]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError([f"{path} is damaged: {error}"]) from error


def _recorded(run_folder: Path) -> dict[str, Any] | None:
    try:
        record = RunRecord.read(run_folder)
    except RecordError:  # it has not started, or it is refused when it is continued
        return None
    then = to_record(from_record(record.config))
    if record.lengthened is not None:
        then["train"]["epochs"] = record.lengthened.planned_before
    return then
