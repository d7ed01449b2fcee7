"""One training of a comparison: what it is, where it lies, and how a worker does it."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

import pfmsmtrec_flwr
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.results.schema import RESULTS_NAME

ERROR_NAME = "error.txt"
LOG_NAME = "run.log"
CLIENTS_NAME = "clients"
SHOWN_DIGITS = 8


class Stage(IntEnum):
    """What a job is for; the lower comes first, as others may wait for it."""

    TRIAL = 0
    RUN = 1
    JOIN = 2


class Runner(Protocol):
    """Trains, and leaves `results.json` in a folder."""

    def __call__(self, config: RunConfig, *, data: Path, output: Path) -> object:
        """Run one configuration.

        Parameters
        ----------
        config
            In force as it is.
        data, output
            Absolute folders of the prepared data and of the results.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One training.

    Attributes
    ----------
    name
        Whose it is: a variant's.
    stage
        What it is for.
    config
        All of its settings, method and seed among them.
    digest
        Of all that its results depend on: jobs of the same digest have the same results.
    folder, data
        Of its results, and of the prepared data.
    run
        Does it.
    keep_models
        Whether the scenarios' models stay.
    """

    name: str
    stage: Stage
    config: RunConfig
    digest: str
    folder: Path
    data: Path
    run: Runner
    keep_models: bool = False

    @property
    def finished(self) -> bool:
        """Whether its results are there."""
        return (self.folder / RESULTS_NAME).is_file()


def train(config: RunConfig, *, data: Path, output: Path) -> object:
    """Run the configured method; the runner of a real comparison."""
    from pfmsmtrec_flwr.experiment import run_method  # torch and flwr: the workers need them, not who sends them jobs

    return run_method(config, data=data, output=output)


def digest_of(config: RunConfig, fingerprint: str, *more: str) -> str:
    """Return the digest of a job.

    Parameters
    ----------
    config
        Its configuration.
    fingerprint
        Of the data.
    more
        What else its results depend on.
    """
    parts = (pfmsmtrec_flwr.__version__, fingerprint, config.to_yaml(), *more)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def data_fingerprint(config: RunConfig, data: Path) -> str:
    """Return what tells the rows of a run from others: the stores' checksums, or what made-up rows are made from.

    Raises
    ------
    UserError
        The data are not prepared, or a scenario that is to take part is not among them.
    """
    from pfmsmtrec_flwr.federation.hosting import chosen_scenarios, open_store

    parts = []
    for name in sorted(chosen_scenarios(config, data)):
        store = open_store(config.data, data, name)  # made-up rows are made here, before many want them at once
        parts.append([name, store.schema_hash, store.checksums])
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def perform(job: Job) -> str:
    """Do a job afresh, and return what went wrong, in one line; empty where nothing did."""
    shutil.rmtree(job.folder, ignore_errors=True)
    try:
        job.folder.mkdir(parents=True)
        with _logged(job.folder / LOG_NAME):
            problem = _problem(job)
        if problem:
            (job.folder / ERROR_NAME).write_text(problem + "\n", encoding="utf-8")
        tidy(job)
    except OSError as error:
        return f"cannot write to {job.folder}: {error.strerror}"
    return problem


def tidy(job: Job) -> None:
    """Remove the scenarios' models, unless they are to stay."""
    if not job.keep_models:
        shutil.rmtree(job.folder / CLIENTS_NAME, ignore_errors=True)


def adopt(job: Job, source: Path) -> None:
    """Give a job the results of another of the same digest."""
    shutil.rmtree(job.folder, ignore_errors=True)
    unfinished = job.folder.with_name(f".{job.folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished)
    unfinished.rename(job.folder)


def _problem(job: Job) -> str:
    try:
        job.run(job.config, data=job.data, output=job.folder)
    except UserError as error:
        return str(error)
    except Exception as error:  # one defect must not cost the other methods' results; the log has the traceback
        logger.exception("%s failed", job.name)
        return str(UserError(f"{type(error).__name__}: {error} (see {job.folder / LOG_NAME})"))
    return ""


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send log lines and warnings to a file, where they do not cross the display."""
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    listened = (logger, logging.getLogger("py.warnings"))
    before = [(each.level, each.propagate) for each in listened]
    for each in listened:
        each.addHandler(handler)
        each.setLevel(logging.INFO)
        each.propagate = False
    try:
        yield
    finally:
        for each, (level, propagate) in zip(listened, before, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
            each.propagate = propagate
        handler.close()
