"""A run of MLflow's, in whatever store it keeps them."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.atomic import replacing
from mnist_compact.bounded import read_json
from mnist_compact.changes import flat
from mnist_compact.onlookers import Watcher
from mnist_compact.tracking.scalars import tag_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from mnist_compact.config import RunConfig
    from mnist_compact.model.anatomy import Anatomy
    from mnist_compact.results.record import RunRecord

MOST_AT_ONCE = 100  # parameters that MLflow takes in one request


class MLflowTracker(Watcher):
    """Every setting as a parameter, the scalars of every epoch, and how it ended.

    `mark` is a file in the run's folder, by which a continued run goes on with the one it has in MLflow.
    """

    def __init__(self, mark: Path, uri: str | None, experiment: str) -> None:
        self.mark, self.uri, self.experiment = mark, uri, experiment
        self.client: MlflowClient | None = None
        self.run_id = ""

    def started(self, run: RunConfig, anatomy: Anatomy, device: str, steps: int) -> None:
        from mlflow import MlflowClient

        begun = read_json(self.mark) if self.mark.exists() else None
        self.client = MlflowClient(tracking_uri=begun["uri"] if begun else self.uri)
        if begun:
            self.run_id = begun["run_id"]
            self.client.update_run(self.run_id, status="RUNNING")
            return
        self.run_id = self._created(self.client)
        self._describe(self.client, run, anatomy)
        with replacing(self.mark) as beside:
            beside.write_text(json.dumps({"uri": self.client.tracking_uri, "run_id": self.run_id}) + "\n")

    def epoch_done(self, row: dict[str, Any], *, new_best: bool) -> None:
        from mlflow.entities import Metric

        if self.client is not None:
            now = int(1000 * time.time())
            tagged = {tag_of(column): value for column, value in row.items() if value is not None}
            metrics = [Metric(tag, float(value), now, row["epoch"]) for tag, value in tagged.items() if tag]
            self.client.log_batch(self.run_id, metrics=metrics)

    def ended(self, record: RunRecord, folder: Path) -> None:
        if self.client is not None:
            told = {"completed": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED"}
            self.client.set_terminated(self.run_id, told.get(record.status, "FAILED"))

    def _created(self, client: MlflowClient) -> str:
        known = client.get_experiment_by_name(self.experiment)
        place = client.create_experiment(self.experiment) if known is None else known.experiment_id
        return str(client.create_run(place, run_name=self.mark.parent.name).info.run_id)

    def _describe(self, client: MlflowClient, run: RunConfig, anatomy: Anatomy) -> None:
        from mlflow.entities import Param

        settings = {**flat(asdict(run)), "parameters": anatomy.parameters}
        params = [Param(key, str(value)) for key, value in settings.items()]
        for first in range(0, len(params), MOST_AT_ONCE):
            client.log_batch(self.run_id, params=params[first : first + MOST_AT_ONCE])
