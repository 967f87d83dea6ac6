"""The callback that logs a run to MLflow."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.callbacks.callback import Callback, RunInfo
from mnist_compact.callbacks.metric_names import tag_of
from mnist_compact.common.atomic import replacing
from mnist_compact.common.bounded_read import read_json
from mnist_compact.common.nested import flat

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from mnist_compact.records.record import RunRecord

MOST_PARAMETERS = 100  # parameters that MLflow accepts in one request
# A run waits only seconds for a server that does not answer: MLflow's own limits add up to minutes. Values that the
# user has set take precedence.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


class MLflowCallback(Callback):
    """Logs every setting as a parameter, the scalars of every epoch, and how the run ended.

    The file `mark` in the run folder contains the id of the run in MLflow, so that a continuation is logged to the same
    run. MLflow does not change logged parameters: settings that a continuation has changed are in tags named
    `continued.<setting>`.

    After a damaged checkpoint, a continued run repeats an epoch. MLflow cannot replace the metrics of the epoch. An
    epoch with equal scores is not logged again. If the scores differ, as on another machine, they are added, and the
    tag `repeated_epochs` names the epoch: its later values count.
    """

    def __init__(self, mark: Path, uri: str | None, experiment: str) -> None:
        self.mark, self.uri, self.experiment = mark, uri, experiment
        self.client: MlflowClient | None = None
        self.run_id = ""
        self.running = False
        self.logged: dict[int, set[tuple[str, float]]] = {}  # epoch → metrics that were logged before the continuation

    def on_run_start(self, info: RunInfo) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        stored = read_json(self.mark) if self.mark.exists() else None
        self.client = MlflowClient(tracking_uri=stored["uri"] if stored else self.uri)
        if stored:
            self.run_id = stored["run_id"]
            self.client.update_run(self.run_id, status="RUNNING")
            self.running = True
            self._tag_changes(self.client, _settings(info))
            self._read_logged(self.client)
            return
        self.run_id = self._created(self.client)
        self.running = True
        self._describe(self.client, _settings(info))
        with replacing(self.mark) as temporary:
            temporary.write_text(
                json.dumps({"uri": self.client.tracking_uri, "run_id": self.run_id}) + "\n", encoding="utf-8"
            )

    def on_epoch_end(self, row: dict[str, Any], *, new_best: bool) -> None:
        from mlflow.entities import Metric

        if self.client is not None:
            time_ms, epoch = int(1000 * time.time()), row["epoch"]
            tagged = {tag_of(column): value for column, value in row.items() if value is not None}
            values = {tag: float(value) for tag, value in tagged.items() if tag}
            if logged := self.logged.get(epoch):
                if all((tag, value) in logged for tag, value in values.items() if tag != "seconds"):
                    return
                self._tag_repeated(self.client, epoch)
            metrics = [Metric(tag, value, time_ms, epoch) for tag, value in values.items()]
            self.client.log_batch(self.run_id, metrics=metrics)

    def on_run_end(self, record: RunRecord, folder: Path) -> None:
        status = {"completed": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED"}
        self._terminate(status.get(record.status, "FAILED"))

    def close(self) -> None:
        self._terminate("FAILED")  # does nothing unless an error ended the run before `on_run_end`

    def _terminate(self, status: str) -> None:
        if self.client is not None and self.running:
            self.running = False
            self.client.set_terminated(self.run_id, status)

    def _created(self, client: MlflowClient) -> str:
        experiment = client.get_experiment_by_name(self.experiment)
        experiment_id = client.create_experiment(self.experiment) if experiment is None else experiment.experiment_id
        return str(client.create_run(experiment_id, run_name=self.mark.parent.name).info.run_id)

    def _describe(self, client: MlflowClient, settings: dict[str, str]) -> None:
        from mlflow.entities import Param

        params = [Param(key, value) for key, value in settings.items()]
        for first in range(0, len(params), MOST_PARAMETERS):
            client.log_batch(self.run_id, params=params[first : first + MOST_PARAMETERS])

    def _read_logged(self, client: MlflowClient) -> None:
        for tag in client.get_run(self.run_id).data.metrics:
            for metric in client.get_metric_history(self.run_id, tag):
                self.logged.setdefault(metric.step, set()).add((tag, metric.value))

    def _tag_repeated(self, client: MlflowClient, epoch: int) -> None:
        earlier = client.get_run(self.run_id).data.tags.get("repeated_epochs")
        client.set_tag(self.run_id, "repeated_epochs", ", ".join(filter(None, [earlier, str(epoch)])))

    def _tag_changes(self, client: MlflowClient, settings: dict[str, str]) -> None:
        """Set a tag for each setting that differs from its parameter, or from its tag of an earlier continuation."""
        data = client.get_run(self.run_id).data
        for key, value in settings.items():
            tag = f"continued.{key}"
            if data.tags.get(tag, data.params.get(key)) != value:
                client.set_tag(self.run_id, tag, value)


def _settings(info: RunInfo) -> dict[str, str]:
    """Return all settings of the run by their full names, with the number of parameters."""
    settings = {**flat(info.settings), "parameters": info.model_summary.parameters}
    return {key: str(value) for key, value in settings.items()}
