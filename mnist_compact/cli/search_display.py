"""How a search goes, for people: one live table on a terminal, plain lines elsewhere; at the end, what was found."""

import math
import re
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mnist_compact.common.run_files import RECORD
from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.common.tables import on_paper_or_terminal
from mnist_compact.common.wording import counted
from mnist_compact.records.discovery import DATABASE
from mnist_compact.search.counts import Tally, is_discarded, is_refused, tally
from mnist_compact.search.locate import SWEEPS
from mnist_compact.search.status import AtWork, SearchStatus, search_status
from mnist_compact.search.stopping import StoppingCriteria, over
from mnist_compact.search.storage_urls import JOURNAL, shown
from mnist_compact.search.summary import best, best_trained, told_apart

REFRESH_S = 2.0


class View:
    """Of a search with `jobs` workers, or of one elsewhere that is looked on at, with None."""

    def __init__(self, name: str, folder: Path, url: str, settings: StoppingCriteria, jobs: int | None) -> None:
        self.console = on_paper_or_terminal()
        self.name, self.folder, self.url, self.settings, self.jobs = name, folder, url, settings, jobs
        self.live: Live | None = None
        self.told: set[int] = set()
        self.last = -math.inf

    def begin(self, trials: Sequence[FrozenTrial]) -> None:
        self.told = {trial.number for trial in trials if trial.state.is_finished()}
        verb = "begins" if all(trial.state is TrialState.WAITING for trial in trials) else "goes on"
        where = f"{verb} in {self.folder}" if self.jobs else "is watched; Ctrl-C ends this and not the search"
        counts = _counts(tally(trials)) + (f"; {counted(self.jobs, 'worker')}" if self.jobs else "")
        self.say(f"study {self.name} {where}: {counts}")
        place = shlex.quote(shown(self.url).removeprefix(JOURNAL))  # the dashboard takes a journal by its path
        self.say(f"to watch it in a browser: optuna-dashboard {place}   (pip install optuna-dashboard)")
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """As often as eyes want it."""
        if time.monotonic() - self.last >= REFRESH_S:
            self.last = time.monotonic()
            self.show(trials)

    def show(self, trials: Sequence[FrozenTrial]) -> None:
        self._tell_ended(trials)
        if self.live is not None:
            self.live.update(self.picture(trials), refresh=True)

    def close(self) -> None:
        """Take the table away; lines can still be said."""
        if self.live is not None:
            self.live.stop()

    def end(self, study: Study, reason: str) -> None:
        trials = study.get_trials(deepcopy=False)
        said, found = findings(study, self.settings)
        self._tell_ended(trials)
        for line in (f"{reason}: {_counts(tally(trials))}", *said):
            self.say(line)
        self._list(found)
        for line in self._next_steps(best_trained(study)[:1], objectives=len(study.directions)):
            self.say(line)

    def _list(self, found: Sequence[FrozenTrial]) -> None:
        """A line each, with what tells their points apart, as far as a terminal has room for it."""
        alike, apart = told_apart(found)
        for trial, told in zip(found, apart, strict=True):
            line = f"  {trial_line(trial, told)}"
            if self.console.is_terminal:
                self.console.print(_cut(line), no_wrap=True, overflow="ellipsis", crop=True)
            else:
                self.say(line)
        if alike:
            self.say(f"  all of these: {alike}")

    def _next_steps(self, found: Sequence[FrozenTrial], objectives: int) -> list[str]:
        """Where the best trial's folder is, what its score was measured on, and the commands to type next.

        Only commands that work as printed are given: `rerun` needs the trial's folder, a ranking one objective.
        """
        lines = []
        for trial in found:
            scored = trial.user_attrs.get("scored", "")
            options = self._place() + (" --split synthetic" if scored.startswith("synthetic") else "")
            if "folder" in trial.user_attrs:
                home = self.folder / trial.user_attrs["folder"]
                there = (home / RECORD).is_file()
                where = f"is in {home}" if there else "was trained elsewhere, and its folder is not here"
                lines.append(f"trial {trial.number} {where}; it was scored on {scored}")
                if there:
                    lines.append(f"to run it once more: python -m mnist_compact {shlex.quote(f'rerun={home}')}")
            word = shlex.quote(f"{self.name}:{trial.number}")
            lines.append(f"to repeat it over fresh seeds: python -m mnist_compact.confirm --trial {word}{options}")
            if objectives == 1:
                ranking = f"python -m mnist_compact.confirm --study {shlex.quote(self.name)} --top 8{options}"
                lines.append(f"to rank the best again: {ranking}")
            if shown(self.url) != self.url:
                lines.append("*** stands for the password of the storage: replace it")
        return lines

    def _place(self) -> str:
        """The options of `confirm` that say where the study is kept, where that is not the usual place."""
        if self.url != f"sqlite:///{self.folder}/{DATABASE}":
            return f" --storage {shlex.quote(shown(self.url))}"
        return "" if self.folder.parent == Path(SWEEPS) else f" --sweeps {shlex.quote(str(self.folder.parent))}"

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)

    def _tell_ended(self, trials: Sequence[FrozenTrial]) -> None:
        """A line for each trial that has ended since, on a terminal only for failures."""
        for trial in trials:
            if trial.number in self.told or is_refused(trial) or not trial.state.is_finished():
                continue
            self.told.add(trial.number)
            if self.live is None or trial.state is TrialState.FAIL:
                self.say(trial_line(trial))

    def picture(self, trials: Sequence[FrozenTrial]) -> Group:
        """How the search stands; the running trials last, for where there are many the end may be cut off."""
        now = search_status(trials, self.settings)
        lines = [
            f"{self.name}: {now.counted.ended} of {now.total or 'an unknown number of'} trials have ended",
            _counts(now.counted),
            *([_pace(now)] if now.per_hour else []),
            *([f"best: {trial_line(now.best[0])}"] if now.best else []),
        ]
        # The last line is empty: a terminal's ^C at the end of a full one would move what is to be erased.
        return Group(*map(_cut, lines), "", _workers(now.at_work), "")


def _pace(now: SearchStatus) -> str:
    speed = f"{now.per_hour:.1f} trials/hour"
    if now.hours_left is None:
        return speed
    hours, minutes = divmod(math.ceil(60 * now.hours_left), 60)
    return f"{speed}, about {f'{hours} h ' if hours else ''}{minutes} min left"


def _workers(at_work: Sequence[AtWork]) -> Table:
    table = Table(box=box.SIMPLE, expand=True, show_edge=False, pad_edge=False)
    table.add_column("worker", no_wrap=True, max_width=12)
    for heading in ("trial", "epoch", "score"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("point", ratio=1)  # gives way, since it alone may wrap; its cells are cut instead
    for each in at_work:
        reached = ("" if each.epoch is None else str(each.epoch), "" if each.score is None else f"{each.score:.4g}")
        table.add_row(each.worker, str(each.number), *reached, _cut(" ".join(each.overrides)))
    return table


def _cut(line: str) -> Text:
    """As much as there is room for, with four digits of each number that a sampler drew."""
    short = re.sub(r"(?<==)\d+\.\d+(?:e-?\d+)?", lambda number: f"{float(number[0]):.4g}", line)
    return Text(short, no_wrap=True, overflow="ellipsis")


def _counts(counted: Tally) -> str:
    return (
        f"{counted.complete} complete, {counted.pruned} pruned, {counted.failed} failed, {counted.running} under way, "
        f"{counted.refused} refused" + (f", {counted.waiting} waiting" if counted.waiting else "")
    )


def trial_line(trial: FrozenTrial, told: str | None = None) -> str:
    """Such as: trial 12  complete  99.31  7,206 parameters  152 s  optim=sgd, its point or what is `told` of it."""
    score = " / ".join(f"{value:.4g}" for value in trial.values) if trial.values else trial.user_attrs.get("reason", "")
    size = f"{counted(trial.user_attrs['parameters'], 'parameter')}  " if "parameters" in trial.user_attrs else ""
    seconds = f"{trial.user_attrs['seconds']:.1f} s  " if "seconds" in trial.user_attrs else ""
    point = " ".join(trial.user_attrs.get("overrides", [])) if told is None else told
    return f"trial {trial.number}  {trial.state.name.lower()}  {score}  {size}{seconds}{point}"


def _causes(trials: Sequence[FrozenTrial], most: int = 5) -> list[str]:
    """Why trials did not become complete, the commonest first."""
    told = (
        trial.user_attrs.get("reason") or trial.user_attrs.get("refused") for trial in trials if not is_discarded(trial)
    )
    return [f"  {count} x {cause}" for cause, count in Counter(cause for cause in told if cause).most_common(most)]


def findings(study: Study, settings: StoppingCriteria) -> tuple[list[str], list[FrozenTrial]]:
    """What is to be said of the end, and the trials to list below it, the best first.

    These are all past the target, or of several objectives the front. Where none is past it, it is said by how much the
    best falls short. Without a target accuracies are held against the mission's threshold.
    """
    found = best(study)
    if not found:
        return ["no trial is complete", *_causes(study.get_trials(deepcopy=False))], []
    if len(study.directions) > 1:
        return [f"Pareto set of {len(found)}:"], found
    target = THRESHOLD if settings.target is None and study.metric_names == ["accuracy"] else settings.target
    if target is None:
        return [f"best: {trial_line(found[0])}"], []
    passed = over(found, target, maximize=settings.maximize)
    if passed:
        return [f"{len(passed)} past {target:g}:"], passed
    short = abs(target - found[0].values[0])
    return [f"none past {target:g}; best is {trial_line(found[0])}, short by {short:.4g}"], []
