"""MLflow: a server of the user's, or a database file in the working folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pfmsmtrec_flwr.config import Value
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.tracking.tracker import Tracker

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE_NAME = "mlflow.db"


class MlflowTracker(Tracker):
    """Run in MLflow, on the server of ``MLFLOW_TRACKING_URI``, or in the file ``mlflow.db`` of the working folder.

    Every method raises `UserError` if the server, or the file, does not answer.
    """

    def __init__(self, run: str, experiment: str) -> None:
        self.uri = os.environ.get(URI_VARIABLE) or f"sqlite:///{Path.cwd() / DATABASE_NAME}"
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with self._answering():
            self._client = MlflowClient(tracking_uri=self.uri)
            known = self._client.get_experiment_by_name(experiment)
            number = self._client.create_experiment(experiment) if known is None else known.experiment_id
            self.run_id: str = self._client.create_run(number, run_name=run).info.run_id

    def log_settings(self, settings: Mapping[str, Value]) -> None:
        """Keep the settings as parameters."""
        with self._answering():
            self._client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in settings.items()])

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Keep the figures as metrics."""
        now = round(time.time() * 1000)
        with self._answering():
            self._client.log_batch(self.run_id, metrics=[Metric(key, figures[key], now, step) for key in figures])

    def log_file(self, path: Path) -> None:
        """Keep a file as an artifact."""
        with self._answering():
            self._client.log_artifact(self.run_id, str(path))

    def close(self, *, failed: bool) -> None:
        """End the run with its status."""
        with self._answering():
            self._client.set_terminated(self.run_id, status="FAILED" if failed else "FINISHED")

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, OSError) as error:
            first = str(error).partition("\n")[0]
            raise UserError(f"MLflow at {self.uri} does not answer ({first}): see {URI_VARIABLE}") from None
