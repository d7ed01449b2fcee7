"""Runs followed by an experiment tracker, such as MLflow or TensorBoard."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.tracking.tracker import Tracker

TrackerName = Literal["mlflow", "tensorboard"]


def check_tracker(name: TrackerName) -> None:
    """Check that a tracker is installed, before a run starts.

    Raises
    ------
    UserError
        Its package is missing.
    """
    if find_spec(name) is None:
        raise UserError(f"--track {name} needs {name}: pip install 'pfmsmtrec-flwr[{name}]'")


def open_tracker(name: TrackerName, run: str, experiment: str, folder: Path) -> Tracker:
    """Open a tracker for a new run.

    Parameters
    ----------
    name
        Name of the tracker.
    run, experiment
        Names of the run, and of the group of runs that it belongs to.
    folder
        Output folder of the run.

    Raises
    ------
    UserError
        Its package is missing, or its store does not answer.
    """
    check_tracker(name)
    if name == "mlflow":
        from pfmsmtrec_flwr.tracking.mlflow_tracker import MlflowTracker

        return MlflowTracker(run, experiment)
    from pfmsmtrec_flwr.tracking.tensorboard_tracker import TensorBoardTracker

    return TensorBoardTracker(folder)
