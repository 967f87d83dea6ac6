"""What stands in a run's folder: what its checkpoint knows of, written by one process, whatever goes wrong."""

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
    """As sudden as a kill, for one process: nothing after it runs but `finally`."""


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
def heard(recording_callback):
    class Hearing(recording_callback):
        def __init__(self):
            super().__init__()
            self.said = []

        def on_message(self, message):
            self.said.append(message)

    return Hearing()


@pytest.fixture(scope="module")
def whole(configure, recording_callback, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(configure("train.epochs=3"), folder, recording_callback())
    return folder


@pytest.fixture
def cut(configure, recording_callback, tmp_path):
    """As `whole`, but interrupted after two of three epochs."""
    run(configure("train.epochs=3"), tmp_path / "cut", interrupting(recording_callback, 3))
    return tmp_path / "cut"


# Its status


@pytest.mark.parametrize("place", ["write_config", "write_layers", "write_metrics"])
def test_ctrl_c_before_the_first_step_is_an_interruption(configure, recording_callback, tmp_path, monkeypatch, place):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_writer, place, press)
    assert run(configure(), tmp_path, recording_callback()).status == "interrupted"
    assert RunRecord.read(tmp_path).status == "interrupted"


def test_a_continuation_that_fails_before_its_first_step_changes_nothing(cut, recording_callback):
    before = (cut / "result.json").read_bytes()
    content = (cut / CHECKPOINT).read_bytes()
    faults = {
        b"damaged": "is damaged",
        content[: content.rindex(CHECKSUM)]: "was written by an earlier version, without a",
    }
    (cut / CHECKPOINT_BEFORE).write_bytes(b"damaged")
    for written, fault in faults.items():
        (cut / CHECKPOINT).write_bytes(written)
        with pytest.raises(CheckpointError, match=rf"checkpoint\.pt {fault}.*: delete both files to start the run"):
            resume(cut, recording_callback())
    (cut / CHECKPOINT).unlink()
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is missing, and there is no intact"):
        resume(cut, recording_callback())
    assert (cut / "result.json").read_bytes() == before


@pytest.mark.parametrize("broken", ["write_mistakes", "append_metrics", "write_config"])
def test_a_full_disk_is_a_failure_that_says_how_to_go_on(configure, recording_callback, tmp_path, monkeypatch, broken):
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
    """As `chmod a-w` of the folder; for root, who may write all the same, the files are refused by name."""
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


def test_last_record_is_written_on_a_full_disk(cut, recording_callback, monkeypatch):
    """By what the checkpoint has as well."""
    write = RunRecord.write

    def small_disk(record, folder):
        if (folder / MISTAKES).exists() and record.status is not Status.RUNNING:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(record, folder)

    with monkeypatch.context() as patched:
        patched.setattr(RunRecord, "write", small_disk)
        resume(cut, interrupting(recording_callback, 3))
    assert RunRecord.read(cut).status == "interrupted"
    resume(cut, recording_callback())
    assert (cut / MISTAKES).exists()


# What it may be continued from


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_costs_an_epoch_and_not_the_weights(whole, cut, heard, place):
    content = bytearray((cut / CHECKPOINT).read_bytes())
    content[int(place * len(content))] ^= 4
    (cut / CHECKPOINT).write_bytes(content)
    assert resume(cut, heard).status == "completed"
    assert heard.said == [f"{cut / CHECKPOINT} is damaged: the run continues from the previous epoch"]
    assert [row["epoch"] for row in heard.rows] == [2, 3]
    assert same(last_weights(cut), last_weights(whole))


def test_without_a_checkpoint_a_run_begins_again_and_says_so(whole, cut, heard):
    for name in (CHECKPOINT, CHECKPOINT_BEFORE):
        (cut / name).unlink()
    assert resume(cut, heard).status == "completed"
    assert heard.said == [f"there is no {CHECKPOINT} in {cut}: the run starts again from its first epoch"]
    assert [row["epoch"] for row in heard.rows] == [1, 2, 3]
    assert same(last_weights(cut), last_weights(whole))


def test_a_checkpoint_of_another_network_is_refused(cut, configure, recording_callback, tmp_path):
    run(configure("model=m1"), tmp_path / "other", recording_callback())
    (cut / CHECKPOINT).write_bytes((tmp_path / "other" / CHECKPOINT).read_bytes())
    with pytest.raises(CheckpointError, match="does not belong to this run"):
        resume(cut, recording_callback())


@pytest.mark.parametrize("place", ["append_metrics", "write_mistakes", "weights", "record", "checkpoint"])
def test_a_kill_within_the_keeping_of_an_epoch_leaves_nothing_that_the_checkpoint_does_not_know(
    configure, recording_callback, tmp_path, monkeypatch, place
):
    """Interrupted again before its next epoch, the continued run is what its checkpoint says, to the last file."""
    config = configure("train.epochs=4", "train.average_epochs=3", "optim.lr=0.05")
    run(config, tmp_path / "like", interrupting(recording_callback, 2 if place == "checkpoint" else 3))
    where = {
        "weights": (checkpoint, "save_weights"),
        "record": (RunRecord, "write"),
        "checkpoint": (checkpoint, "save"),
    }
    owner, name = where.get(place, (folder_writer, place))
    genuine, done = getattr(owner, name), []
    folder = tmp_path / "killed"

    def killed(*arguments):
        if (folder / CHECKPOINT_BEFORE).exists() or (place == "checkpoint" and (folder / CHECKPOINT).exists()):
            raise Killed
        done.append(genuine(*arguments))

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, killed)
        with pytest.raises(Killed):
            run(config, folder, recording_callback())
    resume(folder, interrupting(recording_callback, 2 if place == "checkpoint" else 3))
    for path in sorted((tmp_path / "like").rglob("*.safetensors")):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path / "like")).read_bytes(), path.name
    assert (folder / MISTAKES).read_bytes() == (tmp_path / "like" / MISTAKES).read_bytes()
    ours, theirs = RunRecord.read(folder), RunRecord.read(tmp_path / "like")
    assert (ours.scores, ours.epochs_done, ours.confusion) == (theirs.scores, theirs.epochs_done, theirs.confusion)


def test_a_lengthened_run_is_not_worth_its_old_average(configure, recording_callback, tmp_path):
    run(configure("train.average_epochs=1"), tmp_path, recording_callback())
    assert RunRecord.read(tmp_path).final.weights == "averaged"
    record = resume(tmp_path, interrupting(recording_callback, 4), epochs=4)
    assert (record.epochs_done, record.final) == (3, record.score("synthetic"))
    assert objective(record) == record.score("synthetic").accuracy
    assert record.score("synthetic", weights="averaged") is None
    assert record.score("synthetic", weights="averaged", at="best").epoch == 2
    assert not (tmp_path / "weights" / "averaged_last.safetensors").exists()


def test_a_run_continued_beyond_its_plan_says_so_and_keeps_it(whole, cut, heard, recording_callback, monkeypatch):
    resume(cut, recording_callback())
    straight = RunRecord.read(whole)
    assert (straight.continuations, straight.lengthened) == ([], None)
    once = RunRecord.read(cut)
    assert [(each.after_epoch, each.planned_before, each.planned) for each in once.continuations] == [(2, 3, 3)]
    assert once.lengthened is None
    monkeypatch.setattr(
        "mnist_compact.runs.trainer.describe_environment", lambda device: {"threads": 1, "processor": "X"}
    )
    twice = resume(cut, heard, epochs=4)
    assert [(each.after_epoch, each.planned_before, each.planned) for each in twice.continuations] == [
        (2, 3, 3),
        (3, 3, 4),
    ]
    assert twice.lengthened == twice.continuations[1]
    assert RunRecord.read(cut) == twice
    assert heard.said[0].startswith("the run was planned for 3 epochs: from epoch 4 on, its learning rate follows the ")
    assert twice.environment == straight.environment  # that of its beginning
    assert twice.latest_environment == {"threads": 1, "processor": "X"}


# Who may write there


def test_second_process_is_refused_and_names_the_first(cut, configure, recording_callback, monkeypatch):
    monkeypatch.setattr(folder_writer, "PATIENCE_S", 0.0)
    with sole_writer(cut), pytest.raises(ConfigError, match=f"{cut} is in use by process {os.getpid()} on "):
        resume(cut, recording_callback())


def test_of_two_runs_into_one_folder_the_second_is_refused(configure, recording_callback, tmp_path, monkeypatch):
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
def test_run_overwrites_nothing_in_a_folder_of_the_user(configure, recording_callback, tmp_path, name):
    (tmp_path / name).symlink_to("nowhere")
    (tmp_path / "notes.txt").write_text("not in the way")
    with pytest.raises(
        ConfigError, match=f"must be new, got {tmp_path}, which contains {name}: the run would overwrite"
    ):
        run(configure(), tmp_path, recording_callback())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "notes.txt"])


def test_a_second_run_that_waited_in_vain_finds_the_first(configure, recording_callback, tmp_path, monkeypatch):
    """It looked into the empty folder before the first one came to hold it."""
    begin = RunFolderWriter.begin
    monkeypatch.setattr(RunFolderWriter, "begin", lambda self: pytest.fail("begins in a folder that holds a run"))
    genuine = folder_writer.lock_file

    def overtaken(*arguments, **options):
        (tmp_path / "result.json").write_text("{}")
        return genuine(*arguments, **options)

    monkeypatch.setattr(folder_writer, "lock_file", overtaken)
    with pytest.raises(ConfigError, match="already contains a run"):
        run(configure(), tmp_path, recording_callback())
    assert begin is not RunFolderWriter.begin


def test_a_folder_is_left_without_a_lock(whole):
    assert not (whole / LOCK).exists()


def test_where_there_is_no_run_nothing_is_made(recording_callback, tmp_path):
    with pytest.raises(RecordError, match="is not a run folder"):
        resume(tmp_path / "nowhere", recording_callback())
    assert not (tmp_path / "nowhere").exists()


# Who may read


def test_everyone_may_read_what_the_umask_lets_them(configure, recording_callback, tmp_path):
    before = os.umask(0o027)
    try:
        run(configure("train.epochs=1"), tmp_path, recording_callback())
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}
    assert len(files) > 6
