"""One training of a comparison: its settings, its folder, and its execution by a worker."""

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
from pfmsmtrec_flwr.comparison.pruning import Floor, is_hopeless, score_curve
from pfmsmtrec_flwr.comparison.sources import SOURCES_NAME, sources_of
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods import KNOWN_METHODS
from pfmsmtrec_flwr.model.build import KNOWN_ARCHITECTURES
from pfmsmtrec_flwr.results.schema import RESULTS_NAME
from pfmsmtrec_flwr.validation import dump_yaml

ERROR_NAME = "error.txt"
LOG_NAME = "run.log"
CLIENTS_NAME = "clients"
SHOWN_DIGITS = 8


class JobStage(IntEnum):
    """Purpose of a job; lower stages run first, as other jobs may wait for them."""

    TRIAL = 0
    RUN = 1
    JOIN = 2


class Runner(Protocol):
    """Function that trains and leaves `results.json` in a folder."""

    def __call__(self, config: RunConfig, *, data: Path, output: Path) -> object:
        """Run one configuration.

        Parameters
        ----------
        config
            Configuration of the run.
        data, output
            Absolute folders of the prepared data and of the results.
        """


class TrialRunner(Protocol):
    """Function that trains as a `Runner` does, and may end without results where a run is hopeless."""

    def __call__(self, config: RunConfig, *, data: Path, output: Path, floor: Floor = ()) -> object:
        """Run one configuration.

        Parameters
        ----------
        config
            Configuration of the run.
        data, output
            Absolute folders of the prepared data and of the results.
        floor
            Scores below which the run is hopeless.
        """


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Job:
    """One training.

    Attributes
    ----------
    name
        Variant that this job belongs to.
    stage
        Purpose of the job.
    config
        All settings of the job, including method and seed.
    digest
        Digest of everything that the results depend on: jobs of the same digest have the same results.
    folder, data
        Folders of the results and of the prepared data.
    run
        Function that runs the job.
    keep_models
        Whether the scenarios' models are kept.
    floor
        Scores below which the run is hopeless; empty: it is run to its end.
    sources
        Digest of the package's code.
    fresh
        Whether results of other code of the package do not count.
    trial, trials
        Number of the trial that the job belongs to, from 1, and number of all trials of the method; 0: no trial.
    """

    name: str
    stage: JobStage
    config: RunConfig
    digest: str
    folder: Path
    data: Path
    run: Runner
    keep_models: bool = False
    floor: Floor = ()
    sources: str = ""
    fresh: bool = False
    trial: int = 0
    trials: int = 0

    @property
    def finished(self) -> bool:
        """Whether the results exist."""
        return (self.folder / RESULTS_NAME).is_file() and self._counts

    @property
    def stopped(self) -> bool:
        """Whether the run was stopped as hopeless, or would be if it went on."""
        return bool(self.floor) and self._counts and is_hopeless(score_curve(self.folder), self.floor)

    @property
    def by_other_code(self) -> bool:
        """Whether other code of the package made what lies in the folder."""
        return sources_of(self.folder) != self.sources

    @property
    def _counts(self) -> bool:
        return not (self.fresh and self.by_other_code)


class _HopelessError(Exception):
    """End of a run that fell below its floor."""


def train(config: RunConfig, *, data: Path, output: Path, floor: Floor = ()) -> object:
    """Run the configured method, unless it is hopeless; the runner of a real comparison."""
    from pfmsmtrec_flwr.experiment import run_method  # imports torch and flwr, which only the workers need

    if not floor:
        return run_method(config, data=data, output=output)

    def on_round(_: object) -> None:
        if is_hopeless(score_curve(output), floor):
            raise _HopelessError

    try:
        return run_method(config, data=data, output=output, on_round=on_round)
    except _HopelessError:
        logger.info("%s: fewer than half of the earlier trials were as low, so this one is stopped", config.method)
        return None


def digest_of(config: RunConfig, fingerprint: str, *more: str) -> str:
    """Return the digest of a job.

    Parameters
    ----------
    config
        Configuration of the job.
    fingerprint
        Fingerprint of the data.
    more
        Further facts that the results depend on.
    """
    others = (KNOWN_METHODS.package(config.method), KNOWN_ARCHITECTURES.package(config.model.architecture))
    document = config.model_dump(mode="json")
    del document["data"]["verify"]  # no result depends on it
    parts = (pfmsmtrec_flwr.__version__, fingerprint, dump_yaml(document), *more, *filter(None, others))
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def data_fingerprint(config: RunConfig, data: Path) -> str:
    """Return a digest of the rows of a run, computed from the checksums of the prepared stores.

    Raises
    ------
    UserError
        The data are not prepared, or lack a scenario that takes part.
    """
    from pfmsmtrec_flwr.data.scenarios import chosen_scenarios, open_checked_store

    parts = []
    for name in sorted(chosen_scenarios(config, data)):
        store = open_checked_store(config.data, data, name)  # makes rows before many jobs need them at once
        parts.append([name, store.schema_hash, store.checksums])
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def perform(job: Job) -> str:
    """Run a job afresh, and return its error in one line; empty if there was none."""
    shutil.rmtree(job.folder, ignore_errors=True)
    try:
        job.folder.mkdir(parents=True)
        (job.folder / SOURCES_NAME).write_text(job.sources + "\n", encoding="utf-8")
        with _logged(job.folder / LOG_NAME):
            problem = _problem(job)
        if problem:
            (job.folder / ERROR_NAME).write_text(problem + "\n", encoding="utf-8")
        tidy(job)
    except OSError as error:
        return f"cannot write to {job.folder}: {error.strerror}"
    return problem


def tidy(job: Job) -> None:
    """Remove the scenarios' models, unless the job keeps them."""
    if not job.keep_models:
        shutil.rmtree(job.folder / CLIENTS_NAME, ignore_errors=True)


def adopt(job: Job, source: Path) -> None:
    """Copy the results of another job of the same digest."""
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
    except Exception as error:  # one defect must not cost the results of other methods; the log has the traceback
        logger.exception("%s failed", job.name)
        return str(UserError(f"{type(error).__name__}: {error} (see {job.folder / LOG_NAME})"))
    return ""


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send log lines and warnings to a file, so that they do not disturb the display."""
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
