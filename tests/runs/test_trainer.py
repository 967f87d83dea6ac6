"""A run writes its folder, and a run that was interrupted can be resumed from its folder."""

import contextlib
import csv
import gc
import json
import os
import signal
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from mnist_compact.callbacks.pruning import LeaseLost
from mnist_compact.common.errors import EXIT_FAILED, ConfigError, ExecutionError
from mnist_compact.common.seeds import derive_seed
from mnist_compact.config.schema import to_record
from mnist_compact.records.record import RunRecord, objective
from mnist_compact.runs.trainer import check, resume, run

FULL = ("model=m3", "train.epochs=4", "train.average_epochs=2", "augment=affine", "augment.ease_off_epochs=2")


def weights(folder):
    return {path.name: load_file(path) for path in sorted((folder / "weights").iterdir())}


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(tensor, second[file][name]) for file in first for name, tensor in first[file].items()
    )


def metrics(folder):
    with (folder / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(configure, recording_callback, tmp_path_factory):
    """An uninterrupted run that uses every feature with state."""
    folder = tmp_path_factory.mktemp("whole")
    callback = recording_callback()
    record = run(configure(*FULL), folder, callback, overrides=["model=m3"])
    return folder, record, callback


def test_callbacks_receive_the_run_info_before_the_first_step(whole, configure):
    _, record, callback = whole
    (info,), *others = callback.begun
    assert (info.settings, info.device, info.steps_per_epoch, others) == (to_record(configure(*FULL)), "cpu", 3, [])
    assert info.model_summary.parameters == record.network.parameters


def test_run_writes_a_complete_folder(whole):
    folder, record, _ = whole
    assert {path.name for path in folder.iterdir()} == {
        "result.json", "config.yaml", "metrics.csv", "layers.csv", "mistakes.npz", "weights", "checkpoint.pt",
        "checkpoint.previous.pt", "correct.bits",
    }  # fmt: skip
    assert set(weights(folder)) == {
        "last.safetensors", "best.safetensors", "averaged_last.safetensors", "averaged_best.safetensors",
    }  # fmt: skip
    assert RunRecord.read(folder) == record
    assert record.status == "completed"
    assert record.overrides == ["model=m3"]
    assert record.epochs_done == 4
    assert record.network.parameters == 3_928
    assert {"torch", "mnist-compact"} <= set(record.environment["versions"])


def test_scores_agree_with_the_metrics_of_the_epochs(whole):
    folder, record, recording_callback = whole
    rows = metrics(folder)
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    last = record.score("synthetic")
    assert last.correct == int(rows[-1]["synthetic_correct"])
    assert last.accuracy == pytest.approx(100 * last.correct / last.total)
    best = record.score("synthetic", at="best")
    counts = [int(row["synthetic_correct"]) for row in rows]
    assert (best.correct, best.epoch) == (max(counts), counts.index(max(counts)) + 1)
    averaged = [row["synthetic_averaged_correct"] for row in rows]
    assert averaged[:2] == ["", ""]
    assert record.score("synthetic", weights="averaged").correct == int(averaged[-1])
    assert objective(record) == record.score("synthetic", weights="averaged").accuracy
    assert recording_callback.bests[0]
    assert sum(map(sum, record.confusion)) == last.total


def test_equal_seeds_give_equal_weights_and_other_seeds_do_not(whole, configure, recording_callback, tmp_path):
    run(configure(*FULL), tmp_path / "again", recording_callback())
    assert same(weights(whole[0]), weights(tmp_path / "again"))
    run(configure(*FULL, "seed=1"), tmp_path / "other", recording_callback())
    assert not same(weights(whole[0]), weights(tmp_path / "other"))


class Killed(BaseException):
    """Simulates a kill within this process: no `except Exception` catches it."""


@pytest.mark.parametrize("moments", [[(1, 1)], [(2, 2)], [(4, 3)], [(1, 2), (2, 1), (3, 3), (4, 1)]])
def test_killed_and_resumed_run_ends_with_the_same_weights(whole, configure, recording_callback, tmp_path, moments):
    def killing(epoch, step):
        def at_step(view):
            if (view.epoch, view.step) == (epoch, step):
                raise Killed

        return recording_callback(at_step)

    with pytest.raises(Killed):
        run(configure(*FULL), tmp_path, killing(*moments[0]))
    for moment in moments[1:]:
        with pytest.raises(Killed):
            resume(tmp_path, killing(*moment))
    last = recording_callback()
    assert resume(tmp_path, last).status == "completed"
    done_before = max(epoch for epoch, _ in moments) - 1  # finished epochs are not repeated
    assert [row["epoch"] for row in last.rows] == list(range(done_before + 1, 5))
    assert same(weights(whole[0]), weights(tmp_path))
    assert metrics(tmp_path) == metrics(whole[0])


def test_lengthened_run_averages_over_its_own_last_epochs(configure, recording_callback, tmp_path):
    """With a decay near 1 the average stays near its start, which must be the last epoch of the lengthened run."""
    slow = ("train.epochs=1", "train.average_epochs=1", "train.average_decay=0.999999", "optim.lr=0.01")
    run(configure(*slow), tmp_path, recording_callback())
    raw = [weights(tmp_path)["last.safetensors"]]
    for epochs in (2, 3):
        resume(tmp_path, recording_callback(), epochs=epochs)
        raw.append(weights(tmp_path)["last.safetensors"])
    averaged = weights(tmp_path)["averaged_last.safetensors"]
    distances = [
        sum((averaged[name] - other[name]).abs().sum() for name in averaged if "weight" in name) for other in raw
    ]
    assert distances[2] < distances[1] < distances[0]


@pytest.mark.parametrize("optim", ["sgd", "muon", "nadam", "rmsprop"])
def test_resume_restores_the_optimizer_state(configure, recording_callback, tmp_path, optim):
    run(configure(f"optim={optim}"), tmp_path / "whole", recording_callback())

    def stop(view):
        if view.epoch == 2:
            raise KeyboardInterrupt

    run(configure(f"optim={optim}"), tmp_path / "cut", recording_callback(stop))
    resume(tmp_path / "cut", recording_callback())
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_ctrl_c_is_recorded_as_interrupted(configure, recording_callback, tmp_path):
    def press(view):
        if view.epoch == 2:
            raise KeyboardInterrupt

    record = run(configure("train.epochs=3"), tmp_path, recording_callback(press))
    assert (record.status, record.epochs_done) == ("interrupted", 1)
    assert RunRecord.read(tmp_path).status == "interrupted"
    assert resume(tmp_path, recording_callback()).epochs_done == 3


@pytest.mark.parametrize("fails", [True, False])
def test_ctrl_c_dropped_by_a_library_interrupts_the_run(configure, recording_callback, tmp_path, fails):
    """Numba's compiler drops a Ctrl-C, and then fails with an error of its own or continues."""

    def press(view):
        if view.epoch == 2:
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            if fails:
                raise RuntimeError("no compiled object yet")

    record = run(configure("train.epochs=3"), tmp_path, recording_callback(press))
    assert (record.status, record.reason, record.epochs_done) == ("interrupted", "interrupted by the user", 1)


def test_run_can_be_lengthened_but_not_shortened(configure, recording_callback, tmp_path):
    run(configure("train.epochs=2"), tmp_path, recording_callback())
    with pytest.raises(ConfigError, match=r"train\.epochs must be at least the run's 2, got 1"):
        resume(tmp_path, recording_callback(), epochs=1)
    with pytest.raises(ConfigError, match=r"at most budget\.max_epochs = 15, got 16"):
        resume(tmp_path, recording_callback(), epochs=16)
    record = resume(tmp_path, recording_callback(), epochs=3)
    assert (record.status, record.epochs_done, record.config["train"]["epochs"]) == ("completed", 3, 3)


def test_non_finite_loss_ends_the_run(configure, recording_callback, tmp_path):
    record = run(configure("optim=sgd", "optim.lr=1e30", "model=m1"), tmp_path, recording_callback())
    assert record.status == "diverged"
    assert record.reason.startswith("the loss was not finite in epoch 1")
    assert "NaN" not in (tmp_path / "result.json").read_text()


def test_non_finite_weights_after_the_last_update_end_the_run(configure, recording_callback, tmp_path):
    one_step = ("data.train_images=100", "train.batch_size=100")
    record = run(configure("optim=sgd", "optim.lr=1e30", "model=m1", *one_step), tmp_path, recording_callback())
    assert (record.status, record.reason) == ("diverged", "the loss of evaluation was not finite after epoch 1")
    assert "NaN" not in (tmp_path / "result.json").read_text()


def test_pruning_callback_can_stop_a_run(configure, recording_callback, tmp_path):
    reported = []

    def pruning_callback(score, network):
        reported.append((score.epoch, score.accuracy))
        return score.epoch == 2

    record = run(configure("train.epochs=4"), tmp_path, recording_callback(), pruning_callback=pruning_callback)
    assert (record.status, record.epochs_done) == ("stopped", 2)
    assert reported == [
        (epoch, pytest.approx(float(row["synthetic_accuracy"]))) for epoch, row in enumerate(metrics(tmp_path), 1)
    ]


def test_run_that_lost_its_lease_writes_nothing_more(configure, recording_callback, tmp_path):
    def pruning_callback(score, network):
        if score.epoch == 2:
            record = RunRecord.read(tmp_path)
            record.status, record.reason = "completed", "by another"
            record.write(tmp_path)
            raise LeaseLost("taken over")
        return False

    with pytest.raises(LeaseLost):
        run(configure("train.epochs=3"), tmp_path, recording_callback(), pruning_callback=pruning_callback)
    record = RunRecord.read(tmp_path)
    assert (record.status, record.reason, record.epochs_done) == ("completed", "by another", 1)


def test_every_epoch_is_reported_to_the_pruning_callback(configure, recording_callback, tmp_path):
    """A run that was interrupted before it saved an epoch repeats the epoch and reports it again."""
    reported = []

    def cut_off(score, network):
        reported.append((score, network))
        if len(reported) == 2:
            raise KeyboardInterrupt
        return False

    config = configure("train.epochs=3")
    assert run(config, tmp_path / "cut", recording_callback(), pruning_callback=cut_off).status == "interrupted"
    resume(tmp_path / "cut", recording_callback(), pruning_callback=cut_off)
    assert [score.epoch for score, _ in reported] == [1, 2, 2, 3]
    assert reported[1] == reported[2]
    whole = run(config, tmp_path / "whole", recording_callback())
    assert RunRecord.read(tmp_path / "cut").scores == whole.scores


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model=m3", "model.layers.conv4.width=200"), "got 8,000 for"),
        (("model=m3", "budget.parameters_below=3928"), "got 3,928 for 3,928"),
        (("train.epochs=16",), "train.epochs must be at most budget.max_epochs = 15, got 16"),
        (("machine.device=abacus",), "machine.device must be auto, cpu or a GPU of this machine, got 'abacus'"),
        (
            ("optim=sgd", "optim.momentum=0", "scheduler.peak_momentum=0.8"),
            "requires an optimizer with momentum above 0",
        ),
    ],
)
def test_invalid_run_is_refused_before_anything_is_written(configure, recording_callback, tmp_path, overrides, message):
    config = configure(*overrides)
    with pytest.raises(ConfigError) as refused:
        run(config, tmp_path / "run", recording_callback())
    assert message in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_budget_can_be_disabled(configure):
    check(configure("model=m3", "model.layers.conv4.width=200", "train.epochs=16", "budget=none"))


def test_folder_with_a_run_is_not_overwritten(whole, configure, recording_callback):
    before = json.loads((whole[0] / "result.json").read_text())
    with pytest.raises(ConfigError, match="already contains a run"):
        run(configure(*FULL), whole[0], recording_callback())
    assert json.loads((whole[0] / "result.json").read_text()) == before


def test_runs_do_not_leak_memory(configure, recording_callback, tmp_path):
    """Counts all objects of the garbage collector after each run. One run may fill a cache."""
    config, counts = configure("model=m1", "train.epochs=1"), []
    for number in range(4):
        run(config, tmp_path / str(number), recording_callback())
        gc.collect()
        tracked = gc.get_objects()
        counts.append((sum(issubclass(type(each), torch.Tensor) for each in tracked), len(tracked)))
        del tracked
    growths = [(tensors - before[0], objects - before[1]) for before, (tensors, objects) in pairwise(counts)]
    assert sorted(tensors for tensors, _ in growths)[1] <= 0
    assert sorted(objects for _, objects in growths)[1] <= 20


def test_bfloat16_and_label_smoothing_train(configure, recording_callback, tmp_path):
    record = run(configure("train.precision=bfloat16", "train.label_smoothing=0.1"), tmp_path, recording_callback())
    assert record.status == "completed"


def test_processor_without_bfloat16_says_so_and_computes_in_float32(
    monkeypatch, configure, recording_callback, tmp_path
):
    monkeypatch.setattr("mnist_compact.training.device._cpu_entry", lambda *names: "fpu avx2 avx512f")
    messages = []
    callback = recording_callback()
    callback.on_message = messages.append
    for precision in ("float32", "bfloat16"):
        record = run(configure(f"train.precision={precision}"), tmp_path / precision, callback)
    assert messages == ["this processor has no instructions for bfloat16: the run computes in float32"]
    assert record.environment["has_bfloat16"] is False
    assert same(weights(tmp_path / "float32"), weights(tmp_path / "bfloat16"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_last_batch_may_contain_one_image(configure, recording_callback, tmp_path, precision):
    one_more = ("data=synthetic", "data.evaluation_images=40", "data.train_images=65", "train.epochs=1")
    config = configure(*one_more, f"train.precision={precision}")
    assert run(config, tmp_path, recording_callback()).score("train").total == 65


def test_record_has_the_normalisation_of_the_data(whole, configure):
    data = configure(*FULL).data.load(print)
    normalisation = RunRecord.read(whole[0]).normalisation
    assert (normalisation.mean, normalisation.std) == (data.mean, data.std)


def test_derived_seeds_differ_and_are_stable():
    seeds = {derive_seed(seed, purpose, epoch) for seed in range(4) for purpose in ("a", "b") for epoch in range(4)}
    assert len(seeds) == 32
    assert derive_seed(0, "weights") == 9046998263711421078


def test_network_above_the_limit_is_refused_before_it_is_built(configure):
    config = configure("model.layers.conv4.width=1000000", "budget=none")
    with pytest.raises(ConfigError, match=r"model must have at most 100,000,000 parameters, got [\d,]+"):
        check(config)


def test_synthetic_images_above_the_limit_are_refused(configure):
    with pytest.raises(ConfigError, match=r"data.train_images must be in \[10, 500000\], got 100000000"):
        configure("data=synthetic", "data.train_images=100000000")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you …")])
def test_out_of_memory_has_a_message(configure, recording_callback, tmp_path, error):
    def out_of_memory(view):
        raise error

    with pytest.raises(ExecutionError, match="not enough memory: use a smaller") as fault:
        run(configure(), tmp_path, recording_callback(out_of_memory))
    assert fault.value.status == EXIT_FAILED
    record = RunRecord.read(tmp_path)
    assert (record.status, record.reason) == ("failed", str(fault.value))
