"""Every command that documents, help texts and the program's output suggest is accepted as it is printed.

The commands run in a folder with a run, a grid and the committed studies. The functions that would train or evaluate
a network are replaced; parsing, composition, checks and the lookup of runs and studies are real.
"""

import dataclasses
import re
import shlex
import shutil
from functools import cache
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from mnist_compact.cli import confirm as confirm
from mnist_compact.cli import draw, evaluate, export, predict, report, study
from mnist_compact.cli.help import help_text
from mnist_compact.cli.report_options import parser
from mnist_compact.cli.run_display import closing_lines
from mnist_compact.cli.search_display import View
from mnist_compact.config.composition import compose
from mnist_compact.config.schema import to_record
from mnist_compact.confirmation import conduct
from mnist_compact.confirmation.sources import of_experiment
from mnist_compact.records.record import NetworkFacts, RunRecord, Score, Status
from mnist_compact.runs.jobs import JobResult
from mnist_compact.search import transfer
from mnist_compact.search.coordinator import Coordinator, SearchResult
from mnist_compact.search.create import StudySpec
from mnist_compact.search.stopping import StoppingCriteria
from mnist_compact.zoo import __main__

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "mnist_compact.report": report.main,
    "mnist_compact.study": study.main,
    "mnist_compact.confirm": confirm.main,
    "mnist_compact.draw": draw.main,
    "mnist_compact.evaluate": evaluate.main,
    "mnist_compact.export": export.main,
    "mnist_compact.predict": predict.main,
    "mnist_compact.zoo": __main__.main,
}
# Committed studies, and how many of their trials this test needs.
STUDIES = {"under_8k": 56, "under_8k_2": 3, "smallest_4": 2}
# These wait for a search, write into the package, or need a server, a cluster, an extra, or files of the reader.
LEFT_OUT = (
    *("study watch", "zoo --add", "study import", "postgresql:", "mlflow]", "submitit_slurm", "workers=slurm"),
    "workers=ray",
    *("model=mine", "mine_holdout", "m3_holdout", "optim=signsgd", "data=kmnist_holdout"),
)
SETTINGS = StoppingCriteria(n_trials=8, target=None, target_trials=1, max_failures=3, max_refusals=4, maximize=True)


class WorkReached(BaseException):
    """A command would now train or evaluate a network."""


def examples(text):
    """The indented lines that start with a command of this project, without their comments."""
    lines = [line.strip() for line in text.splitlines() if re.match(r"  +python -m mnist_compact[. ]", line)]
    return [re.split(r"\s{2,}|\s#", line)[0] for line in lines if "[GROUP=OPTION" not in line]


def fenced(text):
    """The commands in code blocks that are not run by the test of the documentation."""
    blocks = re.findall(r"^ *```(?:text|bash)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return examples("".join(f"  {line}\n" for block in blocks for line in block.splitlines()))


def inline(text):
    """Commands between backticks, which may extend over the end of a line."""
    return [" ".join(found.split()) for found in re.findall(r"`(python -m mnist_compact[. ][^`]*)`", text)]


def advised(text):
    """The commands in the output of a program: each extends to the end of its line."""
    return re.findall(r"python -m mnist_compact.*", text)


def documented():
    found = examples("\n".join(f"  {line}" for line in help_text().splitlines()))
    pages = [path for folder in ("tutorial", "how-to") for path in sorted(ROOT.glob(f"docs/{folder}/*.md"))]
    for path in (ROOT / "README.md", *sorted(ROOT.glob("evidence/**/README.md")), *pages):
        text = path.read_text(encoding="utf-8")
        found += [*fenced(text), *examples(text), *inline(text)]
    return [line for line in dict.fromkeys(found) if not any(words in line for words in LEFT_OUT)]


@cache
def defaults():
    return to_record(compose("optim.lr=0.02", "machine.threads=1"))


def write_run(folder, status=Status.COMPLETED):
    """Write the parts of a run folder that commands check: its record and a weights file that is not read."""
    (folder / "weights").mkdir(parents=True)
    (folder / "weights/last.safetensors").touch()
    score = Score(
        split="test", weights="raw", at="last", epoch=1, accuracy=98, loss=1, correct=98, total=100, final=True
    )
    facts = NetworkFacts(parameters=1, trainable_parameters=1, macs=1, receptive_field=1, input_shape=[1, 28, 28])
    RunRecord(status=status, config=defaults(), evaluated="test", scores=[score], network=facts).write(folder)
    return RunRecord.read(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder in which the commands run."""
    place = tmp_path_factory.mktemp("advised")
    write_run(place / "outputs/runs/one")
    shutil.copytree(ROOT / "evidence", place / "evidence")
    for name, trials in STUDIES.items():
        (file,) = ROOT.glob(f"evidence/*/{name}.study.json.gz")
        exported = transfer.read(file)
        folder = place / "outputs/sweeps" / name
        folder.mkdir(parents=True)
        exported["trials"] = [trial | {"intermediate_values": {}} for trial in exported["trials"][:trials]]
        transfer.import_study(exported, RDBStorage(f"sqlite:///{folder}/study.db"), name)
    write_run(place / "outputs/sweeps/under_8k/trials/0012")
    # A confirmation to compare with: any twenty seeds on the test images.
    other = Path("evidence/under_8k/confirmations/under_8k_plain")
    folder, confirmation = conduct.prepare(of_experiment("m3_logged"), "test", place / "outputs/confirmations")
    confirmation.write(folder)
    shutil.copytree(ROOT / other / "seeds", folder / "seeds")
    return place


@pytest.fixture
def accepted(type_in, place, monkeypatch, capsys):
    """Run a command until training or evaluation would start, and check that it is accepted."""

    def work(*_, **__):
        raise WorkReached

    def run(config, folder, *_, **__):
        return write_run(Path(folder))

    def resume(folder, *_, **__):
        return dataclasses.replace(RunRecord.read(folder), status=Status.COMPLETED)

    def run_all(jobs, *_, **__):
        return {job.number: JobResult("", value=1.0) for job in jobs}

    def search(parent, shown):
        return SearchResult(parent.name, parent.folder, "not searched")

    monkeypatch.chdir(place)
    monkeypatch.setattr("mnist_compact.runs.trainer.run", run)
    monkeypatch.setattr("mnist_compact.runs.trainer.resume", resume)
    monkeypatch.setattr("mnist_compact.hydra_ext.launcher.run_all", run_all)
    monkeypatch.setattr("mnist_compact.confirmation.seed_pool.train", work)
    monkeypatch.setattr("mnist_compact.zoo.evaluation.split_of", work)
    monkeypatch.setattr("mnist_compact.reports.page.document.write_page", work)
    monkeypatch.setattr(Coordinator, "search", search)

    def typed(line):
        program, *arguments = shlex.split(line.replace("runs/…", "runs/one").replace("grids/…", "grids/one"))[2:]
        if program == "mnist_compact":
            status, _, output = type_in(*arguments)
        else:
            status, output = 0, ""
            try:
                PROGRAMS[program](arguments)
            except WorkReached:
                pass
            except SystemExit as end:
                status, output = end.code or 0, capsys.readouterr().err
        assert status == 0, f"{line}\n{output}"

    return typed


def test_documents_contain_commands_to_check():
    lines = documented()
    assert len(lines) > 50
    assert {line.split()[2] for line in lines} <= {"mnist_compact", *PROGRAMS}


@pytest.mark.parametrize("line", documented())
def test_documented_command_is_accepted(accepted, place, line):
    if "grids/…" in line and not (place / "outputs/grids/one").exists():
        accepted("python -m mnist_compact -m data=synthetic seed=0,1 hydra.sweep.dir=outputs/grids/one")
    accepted(line)


def test_conditions_in_the_help_of_reports_are_accepted(accepted):
    text = parser().epilog
    conditions = re.findall(r"'([^'\n]+)'", text[text.index("\nconditions:") :])
    assert len(conditions) > 4
    for condition in conditions:
        accepted(f"python -m mnist_compact.report outputs --columns run --where {shlex.quote(condition)}")


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.INTERRUPTED])
def test_commands_at_the_end_of_a_run_are_accepted(accepted, status, tmp_path):
    for folder in (Path(f"outputs/runs/{status}"), tmp_path / f"with space/{status}"):
        (line,) = advised("\n".join(closing_lines(write_run(folder, status), folder)))
        accepted(line)


@pytest.mark.parametrize("name", ["under_8k", "smallest_4"])
def test_commands_at_the_end_of_a_search_are_accepted(accepted, capsys, name):
    folder = Path("outputs/sweeps") / name
    url = f"sqlite:///{folder}/study.db"
    View(name, folder, url, SETTINGS, jobs=2).end(transfer.load(RDBStorage(url), name), "done", ranks=False)
    lines = advised(capsys.readouterr().out)
    assert len(lines) == (1 if name == "smallest_4" else 2)
    for line in lines:
        accepted(line)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_commands_at_the_end_of_a_synthetic_search_are_accepted(accepted, capsys, monkeypatch):
    def search(parent, shown):
        parent.folder.mkdir(parents=True)
        StudySpec(parent.name, parent.folder, parent.url, parent.private, parent.snapshot, []).create_or_load()
        found = transfer.load(RDBStorage(parent.url), parent.name)
        attributes = {"folder": "trials/0000", "scored": "synthetic, raw weights, epoch 1", "overrides": []}
        found.add_trial(create_trial(state=TrialState.COMPLETE, value=98.0, user_attrs=attributes))
        write_run(parent.folder / "trials/0000")
        shown(parent.name, parent.folder, parent.url, parent.settings, 2).end(found, "done", ranks=False)
        return SearchResult(parent.name, parent.folder, "done")

    monkeypatch.setattr(Coordinator, "search", search)
    printed = []
    monkeypatch.setattr(View, "message", lambda self, line: printed.append(line))
    accepted("python -m mnist_compact -m sweeps=smoke hydra.sweeper.study_name=advised")
    lines = advised("\n".join(printed))
    assert len(lines) == 3
    for line in lines:
        accepted(line)
