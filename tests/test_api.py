"""The Python API: the public names, and how results are displayed."""

import html
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy
import torch

import mnist_compact
from mnist_compact import compose, confirm, load_network, load_runs, load_study, train
from mnist_compact.cli import confirm_seed
from mnist_compact.common.errors import ConfigError, ExecutionError
from mnist_compact.confirmation import seed_pool
from mnist_compact.confirmation.reranking import Candidate, Ranking, Round
from mnist_compact.records.record import RunRecord
from mnist_compact.runs.jobs import JobResult

ROOT = Path(__file__).parents[1]
EXPORTED = ROOT / "evidence/under_8k/under_8k.study.json.gz"
SMALL = ("data=synthetic", "data.train_images=128", "data.evaluation_images=40", "train.batch_size=32")

pytestmark = pytest.mark.usefixtures("no_plots")  # except in fixtures of the module, such as `trained`


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def in_this_process(monkeypatch):
    """Seeds are trained one after another in this process."""

    def run_all(jobs, workers, total):
        monkeypatch.setattr(confirm_seed, "end_with", lambda parent: None)
        codes = {job.number: confirm_seed.main(job.folder.parents[1], int(job.folder.name), 1, 0) for job in jobs}
        return {number: JobResult("", fault="exit status" if code else "") for number, code in codes.items()}

    monkeypatch.setattr(seed_pool, "run_all", run_all)


def test_public_names_are_complete():
    names = dir(mnist_compact)
    assert names == mnist_compact.__all__ == sorted(names)
    assert {"compare", "compose", "confirm", "load", "rank", "train"} <= set(names)
    assert all(callable(getattr(mnist_compact, name)) for name in names)
    with pytest.raises(AttributeError, match="no attribute 'load_nothing'"):
        _ = mnist_compact.load_nothing


def test_importing_the_package_imports_no_heavy_library():
    heavy = ("hydra", "matplotlib", "numpy", "optuna", "pandas", "rich", "torch")
    script = f"import sys, mnist_compact; dir(mnist_compact); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_confirm_is_a_function_whatever_was_imported_before():
    """`python -m mnist_compact.confirm` needs a module of the same name."""
    script = "import {}, inspect; from mnist_compact import confirm; print(*inspect.signature(confirm).parameters)"
    for first in ("sys", "mnist_compact.confirmation.results as results"):
        done = subprocess.run([sys.executable, "-c", script.format(first)], capture_output=True, text=True, check=True)
        assert done.stdout.split()[:4] == ["config", "run", "trial", "experiment"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, train(compose("model=m1", "train.epochs=1", *SMALL), str(folder))


def test_train_writes_a_run_folder(trained, capsys):
    folder, record = trained
    assert record == RunRecord.read(folder)
    assert {"curves.png", "confusion.png", "mistakes.png", "correct.bits"} <= {path.name for path in folder.iterdir()}
    assert (folder / "correct.bits").stat().st_size == 5
    with pytest.raises(ConfigError, match="already contains a run"):
        train(compose("model=m1", *SMALL), folder)


def test_train_writes_the_record_before_raising_ctrl_c(tmp_path, recording_callback):
    def interrupt(view):
        if view.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="interrupted by the user"):
        train(compose("model=m1", "train.epochs=2", *SMALL), tmp_path, callbacks=[recording_callback(interrupt)])
    record = RunRecord.read(tmp_path)
    assert (record.status, record.epochs_done) == ("interrupted", 1)


@pytest.mark.parametrize("flushes", [True, False])
def test_train_restores_the_global_state_of_torch(tmp_path, recording_callback, flushes):
    torch.set_flush_denormal(flushes)
    torch.manual_seed(5)
    wanted = torch.rand(3)

    def interrupt(view):
        raise KeyboardInterrupt

    config = compose("model=m1", "train.epochs=1", "machine.threads=2", *SMALL)
    torch.manual_seed(5)
    try:
        train(config, tmp_path / "completed")
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "interrupted", callbacks=[recording_callback(interrupt)])
        assert bool(torch.tensor([1e-40]).mul(1) == 0) is flushes
        assert torch.equal(torch.rand(3), wanted)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_flush_denormal(False)


def test_record_prints_in_a_few_lines(trained):
    _, record = trained
    lines = str(record).splitlines()
    assert lines[0] == "RunRecord: model m1, optim adam, data synthetic, seed 0"
    assert lines[1].startswith("  completed after 1 epoch, ")
    assert lines[1].endswith(" s")
    final = record.final
    assert f"  synthetic, raw weights, last epoch (1): {final.accuracy:.2f} % ({final.correct} of 40), " in str(record)
    assert len(lines) == 3 + len(record.scores)
    assert max(map(len, lines)) < 120


def test_results_are_displayed_as_tables(trained):
    folder, record = trained
    shown = record._repr_html_()
    assert "<td>synthetic</td>" in shown
    assert f"{record.network.parameters:,} parameters" in shown
    layers = load_network(folder)._repr_html_()
    assert "<td>Conv2d 3x3</td>" in layers
    config = compose("model=m1")
    config.model.name = "<b>"
    assert "&lt;b&gt;" in config._repr_html_()
    assert "dropout: " in config._repr_html_()


def test_results_of_a_confirmation_are_displayed(here, in_this_process):
    config = compose("model=m1", "train.epochs=1", *SMALL)
    results = confirm(config, split="synthetic", seeds=2, threshold=99.9, name="<i>")
    shown = results._repr_html_()
    assert "<td>3001</td>" in shown
    assert f"<p>{html.escape(results.conclusion())}</p>" in shown
    assert "new seeds on new images: 95 % interval" in shown
    printed = str(results)
    assert printed.endswith(results.conclusion())
    assert len(printed) < 1000
    assert str(Ranking([Round(1, [Candidate("s:0", here, results)])])).startswith("round 1: 1 candidate, 1 seed each")
    assert (here / "outputs/confirmations/<i>/seeds/3000/correct.bits").exists()
    assert confirm(config, split="synthetic", seeds=2, threshold=99.9, name="<i>") == results, "nothing trained twice"


def test_confirm_refuses_no_source_and_reports_failed_seeds(here, monkeypatch):
    with pytest.raises(ConfigError, match="must be given, got 0"):
        confirm()
    with pytest.raises(ConfigError, match="must be given, got 2"):
        confirm(trial="s:1", experiment="m3_logged")
    monkeypatch.setattr(seed_pool, "train", lambda wanted, jobs, callbacks: ["seed 3000: out of memory"])
    with pytest.raises(ExecutionError, match="seed 3000: out of memory"):
        confirm(compose(*SMALL), split="synthetic", seeds=1)


def test_load_study_returns_a_row_for_every_trial():
    from mnist_compact.search.locate import from_file

    table, study = load_study(EXPORTED), from_file(EXPORTED)
    trials = study.get_trials(deepcopy=False)
    assert table["trial"].tolist() == list(range(len(trials)))
    complete = table[table["state"] == "complete"]
    assert complete["accuracy"].tolist() == [trials[number].values[0] for number in complete["trial"]]
    assert complete["accuracy"].tolist() == complete["last_score"].tolist()
    assert table[table["state"] != "complete"]["accuracy"].isna().all()
    assert set(complete["epochs"]) == {15}
    refused = table[table["state"] == "refused"]
    assert refused["reason"].notna().all()
    assert [str(table[name].dtype) for name in ("state", "parameters", "sgd.optim.lr", "model.layers.conv1.width")] == [
        *("string", "Int64", "Float64", "Int64")
    ]
    for name, searched in (("augment.shear", "augment.shear"), ("sgd.optim.lr", "sgd:optim.lr")):
        wanted = [trial.params.get(searched) for trial in trials]
        assert table[name].astype(object).where(table[name].notna(), None).tolist() == wanted


WRITERS = {
    "excel": "openpyxl",
    "feather": "pyarrow",
    "html": "jinja2",
    "json": "json",
    "latex": "jinja2",
    "orc": "pyarrow",
    "parquet": "pyarrow",
    "pickle": "pickle",
    "sql": "sqlalchemy",
    "stata": "pandas",
    "xml": "xml",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_tables_can_be_written_by_pandas(trained, tmp_path, writer):
    """All but HDF5: pandas cannot write its own nullable whole numbers there."""
    pytest.importorskip(WRITERS[writer])
    options = {"json": {"date_format": "iso"}, "stata": {"version": 118}, "xml": {"parser": "etree"}}.get(writer, {})
    for name, table in {"runs": load_runs(trained[0]), "study": load_study(EXPORTED)}.items():
        if writer == "stata":  # has no column without a value, and no dot in a name
            table = table.dropna(axis="columns", how="all").rename(columns=lambda column: column.replace(".", "_"))
        engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/{name}.db") if writer == "sql" else None
        arguments = (name, engine) if engine else (tmp_path / f"{name}.xlsx",)
        getattr(table, f"to_{writer}")(*arguments, **options)
        if engine:
            assert len(pd.read_sql(name, engine)) == len(table)
            engine.dispose()
        else:
            assert arguments[0].stat().st_size > 0


def test_times_of_runs_are_in_utc_without_a_time_zone(trained):
    """Excel cannot hold a time with one."""
    folder, record = trained
    (started,) = load_runs(folder)["started_at"]
    assert started.tzinfo is None
    assert started.to_pydatetime().replace(tzinfo=UTC) == datetime.fromisoformat(record.started_at)


def test_load_study_refuses_an_unknown_name(here):
    with pytest.raises(ConfigError, match="There is no study 'nothing'"):
        load_study("nothing")
    assert load_runs(here).empty
