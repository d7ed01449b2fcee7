"""Calibration beside a saved model, which stays with it at the site."""

from __future__ import annotations

import json
from pathlib import Path

from pfmsmtrec_flwr.data.store.manifest import file_checksum
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.private_files import open_private
from pfmsmtrec_flwr.training.calibration import Calibration
from pfmsmtrec_flwr.validation import parse

CALIBRATION_NAME = "calibration.json"


def keep_calibration(calibration: Calibration | None, folder: Path) -> dict[str, str]:
    """Write the calibration of a model into its folder, and return the checksum of the file by its name.

    Parameters
    ----------
    calibration
        Calibration. None: no file is written, and that of an earlier run is removed.
    folder
        Folder of the model.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    path = folder / CALIBRATION_NAME
    path.unlink(missing_ok=True)
    if calibration is None:
        return {}
    with open_private(path) as stream:
        stream.write(json.dumps(calibration.model_dump(), indent=1).encode() + b"\n")
    return {CALIBRATION_NAME: file_checksum(path)}


def load_calibration(folder: Path) -> Calibration:
    """Read the calibration in the folder of a model that has one.

    Raises
    ------
    UserError
        The file is missing or does not describe a calibration.
    """
    path = folder / CALIBRATION_NAME
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from None
    return parse(Calibration, document, str(path))
