"""Write and read `results.json`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.schema import RESULTS_NAME, RunResults
from pfmsmtrec_flwr.validation import parse


def write_results(results: RunResults, folder: Path) -> Path:
    """Write `results.json` into `folder`, whole or not at all, and return its path.

    Raises
    ------
    UserError
        The folder cannot be written to.
    """
    path = folder / RESULTS_NAME
    text = json.dumps(results.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{RESULTS_NAME}"  # one process writes to a folder
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                stream.write(text + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    return path


def read_results(folder: Path) -> RunResults:
    """Read the `results.json` of a finished run.

    Raises
    ------
    UserError
        There is none, or it is not one of ours.
    """
    path = folder / RESULTS_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no {RESULTS_NAME} in {folder}: give the output folder of a run that has finished") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: got a {type(document).__name__}, expected the results of a run")
    if document.get("schema") != 1:
        raise UserError(f"{path}: got results of schema {document.get('schema')!r}, this version reads 1: run again")
    return parse(RunResults, document, str(path))


def read_run(folder: Path) -> list[RunResults]:
    """Read the results of a run, then those of its reference methods in the folders below.

    Raises
    ------
    UserError
        One of the files is missing, or it is not one of ours.
    """
    results = read_results(folder)
    return [results, *(read_results(folder / name) for name in results.reference)]
