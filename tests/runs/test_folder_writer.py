"""A run folder agrees with its checkpoint and has one writer, also after errors and kills."""

import errno
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mnist_compact.common.errors import EXIT_FAILED, ConfigError, ExecutionError
from mnist_compact.common.run_files import CHECKPOINT, CHECKPOINT_BEFORE
from mnist_compact.records.record import RecordError, RunRecord, Status, objective
from mnist_compact.runs import folder_writer
from mnist_compact.runs.artifacts import MISTAKES
from mnist_compact.runs.folder_writer import LOCK, RunFolderWriter, sole_writer
from mnist_compact.runs.trainer import resume, run
from mnist_compact.training import checkpoint
from mnist_compact.training.checkpoint import CHECKSUM, CheckpointError


class Killed(BaseException):
    """Simulates a kill within this process: no `except Exception` catches it."""


def last_weights(folder):
    return load_file(folder / "weights" / "last.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def interrupting(recording_callback, epoch):
    def at_step(view):
        if view.epoch == epoch:
            raise KeyboardInterrupt

    return recording_callback(at_step)


@pytest.fixture
def messages_callback(recording_callback):
    class MessagesCallback(recording_callback):
        def __init__(self):
            super().__init__()
            self.messages = []

        def on_message(self, message):
            self.messages.append(message)

    return MessagesCallback()


@pytest.fixture(scope="module")
def whole(configure, recording_callback, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(configure("train.epochs=3"), folder, recording_callback())
    return folder


@pytest.fixture
def interrupted(configure, recording_callback, tmp_path):
    """The run of `whole`, interrupted after two of three epochs."""
    run(configure("train.epochs=3"), tmp_path / "cut", interrupting(recording_callback, 3))
    return tmp_path / "cut"


# Status


@pytest.mark.parametrize("place", ["write_config", "write_layers", "write_metrics"])
def test_ctrl_c_before_the_first_step_interrupts_the_run(configure, recording_callback, tmp_path, monkeypatch, place):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_writer, place, press)
    assert run(configure(), tmp_path, recording_callback()).status == "interrupted"
    assert RunRecord.read(tmp_path).status == "interrupted"


def test_resume_that_fails_before_its_first_step_changes_nothing(interrupted, recording_callback):
    before = (interrupted / "result.json").read_bytes()
    content = (interrupted / CHECKPOINT).read_bytes()
    faults = {
        b"damaged": "is damaged",
        content[: content.rindex(CHECKSUM)]: "was written by an earlier version, without a",
    }
    (interrupted / CHECKPOINT_BEFORE).write_bytes(b"damaged")
    for written, fault in faults.items():
        (interrupted / CHECKPOINT).write_bytes(written)
        with pytest.raises(CheckpointError, match=rf"checkpoint\.pt {fault}.*: delete both files to start the run"):
            resume(interrupted, recording_callback())
    (interrupted / CHECKPOINT).unlink()
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is missing, and there is no intact"):
        resume(interrupted, recording_callback())
    assert (interrupted / "result.json").read_bytes() == before


@pytest.mark.parametrize("broken", ["write_mistakes", "append_metrics", "write_config"])
def test_full_disk_is_a_failure_that_names_the_resume_command(
    configure, recording_callback, tmp_path, monkeypatch, broken
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(folder_writer, broken, full)
        with pytest.raises(ExecutionError, match=r"cannot be written to \(No space left on device\).*resume=") as fault:
            run(configure(), tmp_path, recording_callback())
    assert fault.value.status == EXIT_FAILED
    record = RunRecord.read(tmp_path)
    assert record.status == "failed"
    assert "No space left on device" in record.reason
    assert resume(tmp_path, recording_callback()).status == "completed"


@pytest.mark.parametrize("epoch", [1, 2])
def test_run_whose_folder_becomes_read_only_is_recorded_as_failed(
    configure, recording_callback, tmp_path, monkeypatch, epoch
):
    """Simulates `chmod a-w` by refusing file operations, because root may write to any folder."""
    remove, replace = os.unlink, os.replace

    def refused(path):
        if Path(path).parent == tmp_path and Path(path).name != LOCK:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def unlink(path, **more):
        refused(path)
        remove(path, **more)

    def put(source, target):
        refused(target)
        replace(source, target)

    def read_only(view):
        if view.epoch == epoch:
            monkeypatch.setattr(os, "unlink", unlink)
            monkeypatch.setattr(os, "replace", put)

    with pytest.raises(ExecutionError, match=r"cannot be written to \(Permission denied\).*resume=") as fault:
        run(configure(), tmp_path, recording_callback(read_only))
    monkeypatch.undo()
    assert fault.value.status == EXIT_FAILED
    record = RunRecord.read(tmp_path)
    assert (record.status, record.epochs_done) == ("failed", epoch - 1)
    assert resume(tmp_path, recording_callback()).status == "completed"


def test_last_record_is_written_on_a_full_disk(interrupted, recording_callback, monkeypatch):
    """Files that the checkpoint can restore are removed to make room."""
    write = RunRecord.write

    def small_disk(record, folder):
        if (folder / MISTAKES).exists() and record.status is not Status.RUNNING:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(record, folder)

    with monkeypatch.context() as patched:
        patched.setattr(RunRecord, "write", small_disk)
        resume(interrupted, interrupting(recording_callback, 3))
    assert RunRecord.read(interrupted).status == "interrupted"
    resume(interrupted, recording_callback())
    assert (interrupted / MISTAKES).exists()


# Resuming


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
def test_damaged_checkpoint_falls_back_to_the_previous_epoch(whole, interrupted, messages_callback, place):
    content = bytearray((interrupted / CHECKPOINT).read_bytes())
    content[int(place * len(content))] ^= 4
    (interrupted / CHECKPOINT).write_bytes(content)
    assert resume(interrupted, messages_callback).status == "completed"
    assert messages_callback.messages == [
        f"{interrupted / CHECKPOINT} is damaged: the run continues from the previous epoch"
    ]
    assert [row["epoch"] for row in messages_callback.rows] == [2, 3]
    assert same(last_weights(interrupted), last_weights(whole))


def test_run_without_checkpoint_restarts_with_a_message(whole, interrupted, messages_callback):
    for name in (CHECKPOINT, CHECKPOINT_BEFORE):
        (interrupted / name).unlink()
    assert resume(interrupted, messages_callback).status == "completed"
    assert messages_callback.messages == [
        f"there is no {CHECKPOINT} in {interrupted}: the run starts again from its first epoch"
    ]
    assert [row["epoch"] for row in messages_callback.rows] == [1, 2, 3]
    assert same(last_weights(interrupted), last_weights(whole))


def test_checkpoint_of_another_network_is_refused(interrupted, configure, recording_callback, tmp_path):
    run(configure("model=m1"), tmp_path / "other", recording_callback())
    (interrupted / CHECKPOINT).write_bytes((tmp_path / "other" / CHECKPOINT).read_bytes())
    with pytest.raises(CheckpointError, match="does not belong to this run"):
        resume(interrupted, recording_callback())


@pytest.mark.parametrize("place", ["append_metrics", "write_mistakes", "weights", "record", "checkpoint"])
def test_kill_while_saving_an_epoch_leaves_a_consistent_folder(
    configure, recording_callback, tmp_path, monkeypatch, place
):
    """The run is resumed and interrupted before its next epoch: all files then agree with the checkpoint."""
    config = configure("train.epochs=4", "train.average_epochs=3", "optim.lr=0.05")
    run(config, tmp_path / "reference", interrupting(recording_callback, 2 if place == "checkpoint" else 3))
    where = {
        "weights": (checkpoint, "save_weights"),
        "record": (RunRecord, "write"),
        "checkpoint": (checkpoint, "save"),
    }
    owner, name = where.get(place, (folder_writer, place))
    original, done = getattr(owner, name), []
    folder = tmp_path / "killed"

    def killed(*arguments):
        if (folder / CHECKPOINT_BEFORE).exists() or (place == "checkpoint" and (folder / CHECKPOINT).exists()):
            raise Killed
        done.append(original(*arguments))

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, killed)
        with pytest.raises(Killed):
            run(config, folder, recording_callback())
    resume(folder, interrupting(recording_callback, 2 if place == "checkpoint" else 3))
    for path in sorted((tmp_path / "reference").rglob("*.safetensors")):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path / "reference")).read_bytes(), path.name
    assert (folder / MISTAKES).read_bytes() == (tmp_path / "reference" / MISTAKES).read_bytes()
    actual, expected = RunRecord.read(folder), RunRecord.read(tmp_path / "reference")
    assert (actual.scores, actual.epochs_done, actual.confusion) == (
        expected.scores,
        expected.epochs_done,
        expected.confusion,
    )


def test_lengthened_run_drops_the_score_of_its_old_average(configure, recording_callback, tmp_path):
    run(configure("train.average_epochs=1"), tmp_path, recording_callback())
    assert RunRecord.read(tmp_path).final.weights == "averaged"
    record = resume(tmp_path, interrupting(recording_callback, 4), epochs=4)
    assert (record.epochs_done, record.final) == (3, record.score("synthetic"))
    assert objective(record) == record.score("synthetic").accuracy
    assert record.score("synthetic", weights="averaged") is None
    assert record.score("synthetic", weights="averaged", at="best").epoch == 2
    assert not (tmp_path / "weights" / "averaged_last.safetensors").exists()


def test_run_resumed_beyond_its_plan_records_the_continuation(
    whole, interrupted, messages_callback, recording_callback, monkeypatch
):
    resume(interrupted, recording_callback())
    uninterrupted = RunRecord.read(whole)
    assert (uninterrupted.continuations, uninterrupted.lengthened) == ([], None)
    resumed_once = RunRecord.read(interrupted)
    assert [(each.after_epoch, each.planned_before, each.planned) for each in resumed_once.continuations] == [(2, 3, 3)]
    assert resumed_once.lengthened is None
    monkeypatch.setattr(
        "mnist_compact.runs.trainer.describe_environment", lambda device: {"threads": 1, "processor": "X"}
    )
    resumed_twice = resume(interrupted, messages_callback, epochs=4)
    assert [(each.after_epoch, each.planned_before, each.planned) for each in resumed_twice.continuations] == [
        (2, 3, 3),
        (3, 3, 4),
    ]
    assert resumed_twice.lengthened == resumed_twice.continuations[1]
    assert RunRecord.read(interrupted) == resumed_twice
    assert messages_callback.messages[0].startswith(
        "the run was planned for 3 epochs: from epoch 4 on, its learning rate follows the "
    )
    assert resumed_twice.environment == uninterrupted.environment  # the one in which the run started
    assert resumed_twice.latest_environment == {"threads": 1, "processor": "X"}


# One writer


def test_second_process_is_refused_and_names_the_first(interrupted, configure, recording_callback, monkeypatch):
    monkeypatch.setattr(folder_writer, "PATIENCE_S", 0.0)
    with (
        sole_writer(interrupted),
        pytest.raises(ConfigError, match=f"{interrupted} is in use by process {os.getpid()} on "),
    ):
        resume(interrupted, recording_callback())


def test_second_run_into_the_same_folder_is_refused(configure, recording_callback, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_writer, "PATIENCE_S", 0.0)
    refused = []

    def second(view):
        if not refused:
            with pytest.raises(ConfigError) as refusal:
                run(configure("seed=1"), tmp_path, recording_callback())
            refused.append(str(refusal.value))

    assert run(configure(), tmp_path, recording_callback(second)).epochs_done == 2
    assert len(refused) == 1
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", "weights", "checkpoint.pt", "curves.png"])
def test_run_does_not_overwrite_files_of_the_user(configure, recording_callback, tmp_path, name):
    (tmp_path / name).symlink_to("nowhere")
    (tmp_path / "notes.txt").write_text("not in the way")
    with pytest.raises(
        ConfigError, match=f"must be new, got {tmp_path}, which contains {name}: the run would overwrite"
    ):
        run(configure(), tmp_path, recording_callback())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "notes.txt"])


def test_second_run_that_waited_for_the_lock_is_refused(configure, recording_callback, tmp_path, monkeypatch):
    """The second run saw an empty folder before the first run locked it."""
    begin = RunFolderWriter.begin
    monkeypatch.setattr(
        RunFolderWriter, "begin", lambda self: pytest.fail("the run starts in a folder that contains a run")
    )
    genuine = folder_writer.lock_file

    def overtaken(*arguments, **options):
        (tmp_path / "result.json").write_text("{}")
        return genuine(*arguments, **options)

    monkeypatch.setattr(folder_writer, "lock_file", overtaken)
    with pytest.raises(ConfigError, match="already contains a run"):
        run(configure(), tmp_path, recording_callback())
    assert begin is not RunFolderWriter.begin


def test_run_removes_its_lock(whole):
    assert not (whole / LOCK).exists()


def test_resume_of_a_missing_folder_creates_nothing(recording_callback, tmp_path):
    with pytest.raises(RecordError, match="is not a run folder"):
        resume(tmp_path / "nowhere", recording_callback())
    assert not (tmp_path / "nowhere").exists()


# Permissions


def test_files_have_the_permissions_of_the_umask(configure, recording_callback, tmp_path):
    before = os.umask(0o027)
    try:
        run(configure("train.epochs=1"), tmp_path, recording_callback())
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}
    assert len(files) > 6
