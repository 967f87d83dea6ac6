"""Display the progress of a search: a live table on a terminal, plain lines elsewhere, and a summary at the end."""

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
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.status import RunningTrial, SearchStatus, search_status
from mnist_compact.search.stopping import StoppingCriteria, over
from mnist_compact.search.storage_urls import JOURNAL, shown
from mnist_compact.search.summary import best, best_trained, shared_and_distinct

REFRESH_S = 2.0


class View:
    """Displays a search.

    Args:
        name: The study's name.
        folder: The study's folder.
        url: The URL of the study's storage.
        settings: The stopping criteria.
        jobs: The number of workers of this process; None if another process runs the search.
    """

    def __init__(self, name: str, folder: Path, url: str, settings: StoppingCriteria, jobs: int | None) -> None:
        self.console = on_paper_or_terminal()
        self.name, self.folder, self.url, self.settings, self.jobs = name, folder, url, settings, jobs
        self.live: Live | None = None
        self.reported: set[int] = set()
        self.queued = 0  # workers that wait for a place on a cluster
        self.last = -math.inf

    def begin(self, trials: Sequence[FrozenTrial]) -> None:
        """Print the study's initial status, and start the live table on a terminal."""
        self.reported = {trial.number for trial in trials if trial.state.is_finished()}
        action = "starts" if all(trial.state is TrialState.WAITING for trial in trials) else "continues"
        state = f"{action} in {self.folder}" if self.jobs else "is displayed; Ctrl-C ends the display, not the search"
        counts = _counts(tally(trials)) + (f"; {counted(self.jobs, 'worker')}" if self.jobs else "")
        self.message(f"study {self.name} {state}: {counts}")
        storage = shlex.quote(shown(self.url).removeprefix(JOURNAL))  # the dashboard takes a journal by its path
        self.message(f"to watch it in a browser: optuna-dashboard {storage}   (pip install optuna-dashboard)")
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()

    def update(self, trials: Sequence[FrozenTrial], queued: int) -> None:
        """Refresh the display, at most every REFRESH_S.

        Args:
            trials: All trials of the study.
            queued: The number of workers that wait for a place on a cluster.
        """
        if queued != self.queued and self.live is None:
            self.message(f"{queued} of {counted(self.jobs or 0, 'worker')} queued")
        self.queued = queued
        if time.monotonic() - self.last >= REFRESH_S:
            self.last = time.monotonic()
            self.show(trials)

    def show(self, trials: Sequence[FrozenTrial]) -> None:
        """Refresh the display now."""
        self._report_ended(trials)
        if self.live is not None:
            self.live.update(self.picture(trials), refresh=True)

    def close(self) -> None:
        """Remove the live table. Messages can still be printed."""
        if self.live is not None:
            self.live.stop()

    def end(self, study: Study, reason: str, *, ranks: bool) -> None:
        """Print why the search ended, its best trials, and the commands for the next steps.

        Args:
            study: The study.
            reason: Why the search ended.
            ranks: Whether this process ranks the best trials next, so that no command for it is needed.
        """
        trials = study.get_trials(deepcopy=False)
        summary, found = findings(study, self.settings)
        self._report_ended(trials)
        for line in (f"{reason}: {_counts(tally(trials))}", *summary):
            self.message(line)
        self._list(found)
        for line in self._next_steps(best_trained(study)[:1], can_rank=len(study.directions) == 1 and not ranks):
            self.message(line)

    def _list(self, found: Sequence[FrozenTrial]) -> None:
        """Print one line per trial with the values that the trials do not share, cut to the terminal's width."""
        shared, distinct = shared_and_distinct(found)
        for trial, point in zip(found, distinct, strict=True):
            line = f"  {trial_line(trial, point)}"
            if self.console.is_terminal:
                self.console.print(_cut(line), no_wrap=True, overflow="ellipsis", crop=True)
            else:
                self.message(line)
        if shared:
            self.message(f"  shared by all of these: {shared}")

    def _next_steps(self, found: Sequence[FrozenTrial], can_rank: bool) -> list[str]:
        """Describe the best trial's folder and score, and list commands for the next steps.

        Only commands that work as printed are listed: `rerun` needs the trial's folder. `can_rank` says whether a
        command for a ranking is listed.
        """
        lines = []
        for trial in found:
            scored = trial.user_attrs.get("scored", "")
            options = self._location() + (" --split synthetic" if scored.startswith("synthetic") else "")
            if "folder" in trial.user_attrs:
                home = self.folder / trial.user_attrs["folder"]
                exists = (home / RECORD).is_file()
                where = f"is in {home}" if exists else "was trained on another machine"
                lines.append(f"trial {trial.number} {where}; it was scored on {scored}")
                if exists:
                    lines.append(f"to rerun it: python -m mnist_compact {shlex.quote(f'rerun={home}')}")
            word = shlex.quote(f"{self.name}:{trial.number}")
            lines.append(f"to repeat it over fresh seeds: python -m mnist_compact.confirm --trial {word}{options}")
            if can_rank:
                ranking = f"python -m mnist_compact.confirm --study {shlex.quote(self.name)} --top 8{options}"
                lines.append(f"to rank the best trials over fresh seeds: {ranking}")
            if shown(self.url) != self.url:
                lines.append("replace *** by the password of the storage")
        return lines

    def _location(self) -> str:
        """Return the options of `confirm` for the study's location; empty for the default location."""
        if self.url != f"sqlite:///{self.folder}/{DATABASE}":
            return f" --storage {shlex.quote(shown(self.url))}"
        return "" if self.folder.parent == Path(SWEEPS) else f" --sweeps {shlex.quote(str(self.folder.parent))}"

    def message(self, line: str) -> None:
        """Print one line."""
        self.console.print(line, markup=False, soft_wrap=True)

    def _report_ended(self, trials: Sequence[FrozenTrial]) -> None:
        """Print a line for each trial that has ended since the last call; with a live table only for failures."""
        for trial in trials:
            if trial.number in self.reported or is_refused(trial) or not trial.state.is_finished():
                continue
            self.reported.add(trial.number)
            if self.live is None or trial.state is TrialState.FAIL:
                self.message(trial_line(trial))

    def picture(self, trials: Sequence[FrozenTrial]) -> Group:
        """Return the live table. The running trials come last, because a terminal may cut off the end."""
        status = search_status(trials, self.settings)
        total = counted(status.total, "trial") if status.total else "an unknown number of trials"
        lines = [
            f"{self.name}: {status.counted.ended} of {total} have ended",
            _counts(status.counted) + (f", {counted(self.queued, 'worker')} queued" if self.queued else ""),
            *([_pace(status)] if status.per_hour else []),
            *([f"best: {trial_line(status.best[0])}"] if status.best else []),
        ]
        # The last line is empty: the ^C that a terminal prints after a full line would shift the lines to erase.
        return Group(*map(_cut, lines), "", _workers(status.running), "")


def _pace(status: SearchStatus) -> str:
    speed = f"{status.per_hour:.1f} trials/hour"
    if status.hours_left is None:
        return speed
    hours, minutes = divmod(math.ceil(60 * status.hours_left), 60)
    return f"{speed}, about {f'{hours} h ' if hours else ''}{minutes} min left"


def _workers(running: Sequence[RunningTrial]) -> Table:
    table = Table(box=box.SIMPLE, expand=True, show_edge=False, pad_edge=False)
    table.add_column("worker", no_wrap=True, max_width=12)
    for heading in ("trial", "epoch", "score"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("point", ratio=1)  # the only column that shrinks; its cells are cut instead of wrapped
    for each in running:
        progress = ("" if each.epoch is None else str(each.epoch), "" if each.score is None else f"{each.score:.4g}")
        table.add_row(each.worker, str(each.number), *progress, _cut(" ".join(each.overrides)))
    return table


def _cut(line: str) -> Text:
    """Cut the line to the terminal's width, and show four significant digits of each number."""
    short = re.sub(r"(?<==)\d+\.\d+(?:e-?\d+)?", lambda number: f"{float(number[0]):.4g}", line)
    return Text(short, no_wrap=True, overflow="ellipsis")


def _counts(counted: Tally) -> str:
    return (
        f"{counted.complete} complete, {counted.pruned} pruned, {counted.failed} failed, {counted.running} running, "
        f"{counted.refused} refused" + (f", {counted.waiting} waiting" if counted.waiting else "")
    )


def trial_line(trial: FrozenTrial, point: str | None = None) -> str:
    """Describe a trial in one line, such as `trial 12  complete  99.31  7,206 parameters  152 s  optim=sgd`.

    Args:
        trial: The trial.
        point: The text to show as the trial's point; None for all its overrides.
    """
    score = " / ".join(f"{value:.4g}" for value in trial.values) if trial.values else trial.user_attrs.get("reason", "")
    size = f"{counted(trial.user_attrs['parameters'], 'parameter')}  " if "parameters" in trial.user_attrs else ""
    seconds = f"{trial.user_attrs['seconds']:.1f} s  " if "seconds" in trial.user_attrs else ""
    point = " ".join(trial.user_attrs.get("overrides", [])) if point is None else point
    return f"trial {trial.number}  {trial.state.name.lower()}  {score}  {size}{seconds}{point}"


def _causes(trials: Sequence[FrozenTrial], most: int = 5) -> list[str]:
    """Return the most common reasons for which trials failed or were refused, with their frequency."""
    causes = (
        trial.user_attrs.get("reason") or trial.user_attrs.get("refused") for trial in trials if not is_discarded(trial)
    )
    return [f"  {count} x {cause}" for cause, count in Counter(cause for cause in causes if cause).most_common(most)]


def findings(study: Study, settings: StoppingCriteria) -> tuple[list[str], list[FrozenTrial]]:
    """Summarise the result of a study.

    Accuracies are compared with the target or, without a target, with the 99.4 % threshold.

    Returns:
        Lines of text, and the trials to list below them, best first: those that are better than the target or, with
        several objectives, the Pareto set. If no trial is better, the text contains how much the best falls short.
    """
    found = best(study)
    if not found:
        return ["no trial is complete", *_causes(study.get_trials(deepcopy=False))], []
    if len(study.directions) > 1:
        return [f"Pareto set of {counted(len(found), 'trial')}:"], found
    target = THRESHOLD if settings.target is None and study.metric_names == ["accuracy"] else settings.target
    if target is None:
        return [f"best: {trial_line(found[0])}"], []
    better = over(found, target, maximize=settings.maximize)
    if better:
        return [f"{counted(len(better), 'trial')} better than {target:g}:"], better
    objective = OBJECTIVES.get(study.metric_names[0]) if study.metric_names else None
    shortfall = f"{abs(target - found[0].values[0]):.4g}" + (f" {objective.unit}" if objective else "")
    return [f"no trial is better than {target:g}; the best falls short by {shortfall}: {trial_line(found[0])}"], []
