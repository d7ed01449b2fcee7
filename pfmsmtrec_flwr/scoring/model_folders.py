"""Folders of saved models: that of one scenario, of one method, or of a run."""

from __future__ import annotations

from pathlib import Path

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.writer import read_results
from pfmsmtrec_flwr.scoring.saved_model import DESCRIPTION_NAME

_CLIENTS = "clients"


def model_folders(folder: Path) -> list[Path]:
    """Return the folders of the models that a folder stands for.

    Parameters
    ----------
    folder
        Folder of one model, folder with a model for each scenario, or output folder of a run, which stands for the
        models of its own method.

    Raises
    ------
    UserError
        There is no model.
    """
    if (folder / DESCRIPTION_NAME).is_file():
        return [folder]
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the output folder of a run, or that of a saved model")
    if found := _with_models(folder):
        return found
    methods = [child for child in sorted((folder / _CLIENTS).glob("*")) if _with_models(child)]
    if not methods:
        raise UserError(
            f"no saved model in {folder}: give the output folder of a finished run, or its clients/METHOD/SCENARIO. "
            "A run that did not finish has none"
        )
    if len(methods) == 1:
        return _with_models(methods[0])
    own = folder / _CLIENTS / read_results(folder).method
    if own not in methods:
        raise UserError(f"no model of method {own.name} in {folder}: give one of {', '.join(map(str, methods))}")
    return _with_models(own)


def scenarios_with_models(folder: Path) -> list[str]:
    """Return the scenarios whose models of one method lie in a folder; none if there is no such folder."""
    return [child.name for child in _with_models(folder)]


def _with_models(folder: Path) -> list[Path]:
    return [child for child in sorted(folder.glob("*")) if (child / DESCRIPTION_NAME).is_file()]
