"""Predicted probabilities of a run's test rows: one file for each scenario, in the order of its prepared rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.private_files import make_private, open_private
from pfmsmtrec_flwr.validation import safe_folder

PREDICTIONS_NAME = "predictions"
"""Folder of the files, beside `results.json`."""
SCENARIO_FILE = "predictions.npy"
"""File that a client keeps among its own."""


def save_predictions(probabilities: NDArray[np.floating], path: Path) -> None:
    """Write predicted probabilities (n, T) as float32, whole or not at all. Only the owner may read them.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    try:
        make_private(path.parent)
        unfinished = path.with_name(f".{path.name}")
        with open_private(unfinished) as stream:
            np.save(stream, np.asarray(probabilities, dtype=np.float32), allow_pickle=False)
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def load_predictions(path: Path) -> NDArray[np.float32] | None:
    """Map the predicted probabilities (n, T) of a file; None where there is none.

    Raises
    ------
    UserError
        The file is damaged.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): remove its folder, and run again") from None
    if found.ndim != 2 or found.dtype != np.float32:
        raise UserError(f"{path} holds {found.dtype} {found.shape}, expected float32 (rows, tasks): run again")
    return np.asarray(found)


def write_predictions(predictions: Mapping[str, NDArray[np.floating]], output: Path) -> None:
    """Write the predictions of each scenario into the folder of a run's results."""
    for scenario, probabilities in predictions.items():
        save_predictions(probabilities, _file(output, scenario))


def read_predictions(output: Path, scenario: str) -> NDArray[np.float32] | None:
    """Map the predictions of a scenario from the folder of a run's results; None where they were not kept."""
    return load_predictions(_file(output, scenario))


def _file(output: Path, scenario: str) -> Path:
    folder = safe_folder(output / PREDICTIONS_NAME, scenario)
    return folder.with_name(f"{folder.name}.npy")
