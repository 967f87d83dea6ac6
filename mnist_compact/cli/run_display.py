"""Terminal output of a run: layer table, live progress bar, one line per epoch, summary."""

import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from mnist_compact.callbacks.callback import Callback, RunInfo, SafeCallback
from mnist_compact.common.tables import on_paper_or_terminal
from mnist_compact.common.wording import counted
from mnist_compact.models.summary import ModelSummary
from mnist_compact.records.record import RunRecord, Status
from mnist_compact.training.loop import StepView

REFRESH_S = 0.2
QUIET_S = 10.0  # without a live bar: time between lines with the progress of the first epoch
WIDEST = 1_000  # largest width of the layer table, characters


class TerminalConsole(Console):
    """A console whose reader may close the pipe, as `head` does. Nothing more is shown then, and there is no error."""

    def on_broken_pipe(self) -> None:
        with suppress(SystemExit):  # rich redirects this process's stdout to /dev/null and would also end the process
            super().on_broken_pipe()


class RunningFigures(ProgressColumn):
    """Progress column with loss, accuracy, images/s and learning rate so far in the epoch."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["figures"], style="cyan", no_wrap=True, overflow="ellipsis")


class TerminalCallback(Callback):
    """Shows one run: on a terminal with a live progress bar, elsewhere (such as in a file) with whole lines only."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or on_paper_or_terminal(TerminalConsole)
        self.bar: Progress | None = None
        self.task_id: Any = None
        self.images = 0
        self.epochs = 0
        self.epoch_start = 0.0
        self.refreshed = 0.0
        self.printed = 0.0
        self.epoch_was_shown = False

    def on_message(self, message: str) -> None:
        self.console.print(message, markup=False, soft_wrap=True)

    def on_run_start(self, info: RunInfo) -> None:
        table, options = layer_table(info.model_summary), self.console.options
        needed = Measurement.get(self.console, options.update(max_width=WIDEST), table).maximum
        lines = self.console.render_lines(table, options.update(width=needed), pad=False)
        self.console.print(SegmentLines(lines, new_lines=True), crop=False)  # a narrower table would contain dots
        for line in (*totals(info.model_summary), *recipe(info)):
            self.console.print(line, markup=False, soft_wrap=True)
        self.epochs = info.settings["train"]["epochs"]
        self.images = info.train_images
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=8),
                RunningFigures(),
                TimeRemainingColumn(compact=True),
                console=self.console,
                transient=True,
            )
            self.task_id = self.bar.add_task("", total=self.images, figures="")
            self.bar.start()

    def on_step_end(self, view: StepView) -> None:
        now = time.perf_counter()
        if view.step == 1:
            self.epoch_start = self.printed = now
        if self.bar is None:
            if not self.epoch_was_shown and now - self.printed >= QUIET_S:
                self.printed = now
                self.on_message(f"epoch {view.epoch}/{self.epochs}: {view.seen:,} of {self.images:,} images")
            return
        if now - self.refreshed < REFRESH_S:
            return
        self.refreshed = now
        speed = view.seen / max(now - self.epoch_start, 1e-3)
        figures = f"batch {view.step} {scores_so_far(view)}{speed:,.0f} images/s lr {view.learning_rate:.2g}"
        description = f"epoch {view.epoch}/{self.epochs}"
        self.bar.update(self.task_id, completed=view.seen, description=description, figures=figures)

    def on_epoch_end(self, row: dict[str, Any], *, new_best: bool) -> None:
        self.epoch_was_shown = True
        self.console.print(epoch_line(row, self.epochs, new_best=new_best), markup=False, soft_wrap=True)
        if self.bar is not None:
            self.bar.reset(self.task_id, total=self.images, figures="")

    def on_run_end(self, record: RunRecord, folder: Path) -> None:
        self.close()
        for line in closing_lines(record, folder):
            self.console.print(line, markup=False, soft_wrap=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def on_terminal() -> Callback:
    """Return the callback that shows a run. Display errors never abort a run."""
    return SafeCallback("the display", TerminalCallback())


def scores_so_far(view: StepView) -> str:
    """Return loss and accuracy of the running epoch; nothing on a GPU, where reading them would delay training."""
    if view.loss_sum.device.type != "cpu":
        return ""
    loss, accuracy = view.loss_sum.item() / view.seen, 100 * view.correct.item() / view.seen
    return f"loss {loss:.4f} accuracy {accuracy:.2f} % "


def layer_table(model_summary: ModelSummary) -> Table:
    """Return the table of layers; k/s/p are kernel, stride and padding, RF is the receptive field, all in px."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer")
    for heading in ("output", "k/s/p", "parameters", "MACs", "jump", "RF"):
        table.add_column(heading, justify="right")
    for row in model_summary.rows:
        known = None not in (row.kernel, row.stride, row.padding)
        window = f"{row.kernel}/{row.stride}/{row.padding}" if known and (row.kernel != 1 or row.macs) else ""
        table.add_row(
            escape(row.layer),
            f"{row.out_channels}×{row.out_height}×{row.out_width}",
            window,
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.macs:,}" if row.macs else "",
            "?" if row.jump is None else str(row.jump),
            "?" if row.receptive_field is None else str(row.receptive_field),
        )
    return table


def totals(model_summary: ModelSummary) -> list[str]:
    """Return the lines below the layer table: parameters, multiply-accumulates, receptive field and memory."""
    side = model_summary.receptive_field
    field = "unknown" if side is None else f"{side}×{side} before the final pooling"
    return [
        f"parameters {model_summary.parameters:,}: trainable {model_summary.trainable_parameters:,}, "
        f"not trainable {model_summary.frozen_parameters:,} · multiply-accumulates {model_summary.macs:,} · "
        f"receptive field {field}",
        f"input {model_summary.input_mib:.3f} MiB · forward/backward pass {model_summary.pass_mib:.2f} MiB · "
        f"parameters {model_summary.parameters_mib:.3f} MiB (one image, float32)",
    ]


def recipe(info: RunInfo) -> list[str]:
    """Return the lines that describe device, optimizer, scheduler and data of a run."""
    import torch

    settings, train = info.settings, info.settings["train"]
    return [
        f"device     {info.device}, {counted(torch.get_num_threads(), 'thread')}, {train['precision']}",
        f"optimizer  {_settings(settings['optim'])}",
        f"scheduler  {_settings(settings['scheduler'])}",
        f"data       {settings['data']['name']}: {counted(info.train_images, 'training image')}, "
        f"scored on the {info.evaluated_split} split; augmentation {settings['augment']['name']}; "
        f"{counted(train['epochs'], 'epoch')} of {counted(info.steps_per_epoch, 'batch', 'batches')} "
        f"of {train['batch_size']}; seed {settings['seed']}",
    ]


def _settings(part: Mapping[str, Any]) -> str:
    """Return the option and its settings, except those that are null."""
    values = {key: value for key, value in part.items() if key not in ("kind", "name") and value is not None}
    return f"{part['name']}({', '.join(f'{key} {value}' for key, value in values.items())})"


def epoch_line(row: dict[str, Any], epochs: int, *, new_best: bool) -> str:
    """Return the line of an epoch.

    Example: epoch  3/15  train 0.0821 97.41 %  test 0.0524 9832/10000 98.32 %  lr 0.0041  11.2 s  * best
    """
    split = next(key.removesuffix("_total") for key in row if key.endswith("_total") and key != "train_total")
    parts = [
        f"epoch {row['epoch']:>2}/{epochs}",
        f"train {row['train_loss']:.4f} {row['train_accuracy']:.2f} %",
        f"{split} {row[f'{split}_loss']:.4f} {row[f'{split}_correct']}/{row[f'{split}_total']} "
        f"{row[f'{split}_accuracy']:.2f} %",
    ]
    if row[f"{split}_averaged_correct"] is not None:
        parts.append(
            f"averaged {row[f'{split}_averaged_loss']:.4f} {row[f'{split}_averaged_correct']}/{row[f'{split}_total']} "
            f"{row[f'{split}_averaged_accuracy']:.2f} %"
        )
    parts += [f"lr {row['learning_rate']:.3g}", f"{row['seconds']:.1f} s"]
    return "  ".join(parts) + ("  * best" if new_best else "")


def closing_lines(record: RunRecord, folder: Path) -> list[str]:
    """Return the summary at the end of a run: scores, status and the next command."""
    lines = []
    for score in record.scores:
        if score.split != "train":
            weights = "" if score.weights == "raw" else f", {score.weights} weights"
            lines.append(
                f"{score.at:4} {score.split} accuracy {score.accuracy:.2f} % "
                f"({score.correct}/{score.total}), loss {score.loss:.4f}, epoch {score.epoch}{weights}"
            )
    lines.append(f"{record.status} after {counted(record.epochs_done, 'epoch')}, {record.seconds:.1f} s · {folder}")
    if record.reason and record.status is not Status.INTERRUPTED:
        lines.append(record.reason)
    if record.status is Status.INTERRUPTED:
        lines.append(f"continue with: python -m mnist_compact {shlex.quote(f'resume={folder}')}")
    else:
        lines.append(f"compare with: python -m mnist_compact.report {shlex.quote(_comparison_folder(folder))}")
    return lines


def _comparison_folder(folder: Path) -> str:
    """Return the first folder of a relative path, such as `outputs`; for a path elsewhere, the parent folder."""
    elsewhere = folder.is_absolute() or ".." in folder.parts
    return str(folder.parent) if elsewhere else folder.parts[0] if folder.parts else "."
