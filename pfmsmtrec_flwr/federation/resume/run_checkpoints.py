"""Checkpoints of a whole run: what it was begun with, and the checkpoints of each of its methods."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import torch

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.resume.checkpoints import (
    Checkpoint,
    CheckpointFolder,
    clear_write_errors,
    write_whole,
)
from pfmsmtrec_flwr.federation.resume.snapshot import RECORDS
from pfmsmtrec_flwr.results.folders import claimed
from pfmsmtrec_flwr.results.schema import RESULTS_NAME, versions
from pfmsmtrec_flwr.training.description import Description
from pfmsmtrec_flwr.training.records import TrainingResult
from pfmsmtrec_flwr.validation import Section, parse, safe_folder

CHECKPOINTS_NAME = "checkpoints"
"""Folder of the checkpoints in the output folder of a run."""
_BEGINNING_NAME = "run.json"
_FINISHED = "finished"


class RunBeginning(Section):
    """What a run was begun with."""

    run: int
    """Number of the run, below which deployed nodes keep its files; resumed runs have other numbers."""
    config: dict[str, Any]
    """Whole configuration, defaults included."""
    versions: dict[str, str]
    """Versions of the packages that compute."""
    data: str
    """Folder of prepared data, as it was named; empty: the default."""
    start_from: str
    """Run from whose models the scenarios started; empty if they started anew."""

    @classmethod
    def of(cls, config: RunConfig, *, run: int, data: str, start_from: str) -> RunBeginning:
        """Return what a run begins with now, under its whole configuration, defaults included."""
        return cls(
            run=run, config=config.model_dump(mode="json"), versions=versions(), data=data, start_from=start_from
        )


class RunCheckpoints:
    """Checkpoints of the methods of a run.

    Parameters
    ----------
    folder
        Folder of the checkpoints.
    run
        Number of the run in which the clients' files began.
    """

    def __init__(self, folder: Path, run: int) -> None:
        self.folder = folder
        self.run = run

    def of(self, method: str) -> CheckpointFolder:
        """Return the checkpoints of one method."""
        return CheckpointFolder(safe_folder(self.folder, method))

    def finished(self, method: str) -> TrainingResult | None:
        """Return the result of a method that has finished its training; None if it has not.

        The result lacks what the scenarios' folders keep: models, calibrations and predictions.
        """
        found = self.of(method).newest()
        if found is None or _FINISHED not in found.state:
            return None
        state = found.state[_FINISHED]
        return TrainingResult(
            **{name: state[name] for name in _PLAIN},
            rounds=RECORDS.validate_python(state["rounds"]),
            scenarios={name: parse(Description, own, str(self.folder)) for name, own in state["scenarios"].items()},
            draws={name: {task: auc.numpy() for task, auc in own.items()} for name, own in state["draws"].items()},
        )

    def finish(self, method: str, result: TrainingResult) -> None:
        """Keep the result of a method that has finished its training.

        Raises
        ------
        UserError
            It cannot be written.
        """
        folder = self.of(method)
        state = {name: getattr(result, name) for name in _PLAIN}
        state["rounds"] = RECORDS.dump_python(result.rounds)
        state["scenarios"] = {name: own.model_dump() for name, own in result.scenarios.items()}
        state["draws"] = {
            name: {task: torch.from_numpy(np.array(auc)) for task, auc in own.items()}
            for name, own in result.draws.items()
        }
        folder.write(Checkpoint(folder.next_number(), {_FINISHED: state}), {"method": method, "finished": True})


_PLAIN = ("selected", "test", "consensus", "best", "absent", "seconds")
"""Attributes of a training's result that are kept as they are."""


@contextmanager
def run_checkpoints(output: Path, beginning: RunBeginning, *, resume: bool) -> Iterator[RunCheckpoints]:
    """Open the checkpoints of a run, which are removed when it has finished.

    Parameters
    ----------
    output
        Output folder of the run.
    beginning
        What the run begins with now. Where it is resumed, the number of the run and the folder of its data are those
        with which it began.
    resume
        Whether the run goes on where an earlier one in the same folder was broken off.

    Raises
    ------
    UserError
        There is nothing to resume, or it was begun with something else; the folder holds a run that was broken off,
        and is not to be resumed; another process is at it; the folder cannot be written.
    """
    folder = output / CHECKPOINTS_NAME
    if resume:
        read_beginning(output)  # a folder without one is left as it is
    with claimed(folder):
        if resume:
            begun = read_beginning(output)
            _require_same(begun, beginning, output)
            beginning = begun
        else:
            refuse_broken_off(output)
            with clear_write_errors(folder / _BEGINNING_NAME):
                write_whole(folder / _BEGINNING_NAME, json.dumps(beginning.model_dump(), indent=1).encode())
        yield RunCheckpoints(folder, beginning.run)
        rmtree(folder, ignore_errors=True)


def read_beginning(output: Path) -> RunBeginning:
    """Return what the run in a folder was begun with.

    Raises
    ------
    UserError
        The folder has the results of a run already, or no checkpoints.
    """
    if (output / RESULTS_NAME).exists():
        raise UserError(f"{output} holds the results of a finished run: there is nothing to resume")
    path = output / CHECKPOINTS_NAME / _BEGINNING_NAME
    try:
        return parse(RunBeginning, json.loads(path.read_bytes()), str(path))
    except FileNotFoundError:
        raise UserError(f"no checkpoints in {output}: there is nothing to resume, start the run anew") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): start the run anew in another folder") from None


def is_broken_off(output: Path) -> bool:
    """Return whether a folder holds a run that has begun and has not finished."""
    return (output / CHECKPOINTS_NAME / _BEGINNING_NAME).exists() and not (output / RESULTS_NAME).exists()


def refuse_broken_off(output: Path) -> None:
    """Refuse to begin a run in the folder of one that was broken off.

    Raises
    ------
    UserError
        The folder holds the checkpoints of a run.
    """
    if is_broken_off(output):
        raise UserError(
            f"{output} holds a run that was broken off: resume it (pfmsmtrec run --resume {output}), "
            "remove the folder, or name another --output"
        )


def _require_same(begun: RunBeginning, now: RunBeginning, output: Path) -> None:
    """Refuse to resume a run with other settings, packages or earlier models, and name the first that differs."""
    differing = [
        *_differing(begun.config, now.config),
        *_differing(begun.versions, now.versions, "version of "),
        *_differing({"start-from": begun.start_from}, {"start-from": now.start_from}),
    ]
    for name, before, after in differing[:1]:
        raise UserError(
            f"cannot resume {output}: {name} is {after!r} now and was {before!r} when the run began: "
            "resume with what it had, or start a new run"
        )


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted name and both values of what differs between two nested mappings."""
    for key in sorted(before.keys() | now.keys()):
        one, other = before.get(key), now.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differing(one, other, f"{prefix}{key}.")
        elif one != other:
            yield f"{prefix}{key}", one, other
