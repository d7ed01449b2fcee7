"""What every test shares: one thread, no trace outside the test's own folder."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from federated import Tiny
    from xdist.scheduler import LoadFileScheduling

# Before anything imports numpy or torch: two tests beside each other must not fight for cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.update(FLWR_TELEMETRY_ENABLED="0", RAY_USAGE_STATS_ENABLED="0", FLWR_DISABLE_UPDATE_CHECK="1")

gc.set_threshold(50_000, 20, 20)  # the search for cycles among the objects of large libraries takes a tenth of the time

settings.register_profile("project", deadline=None)  # a loaded machine is no failure
settings.load_profile("project")


def pytest_configure(config: pytest.Config) -> None:
    """Let typer use what click will drop in its next major version; both are Flower's choice."""
    config.addinivalue_line("filterwarnings", "ignore:.*removed in Click 9:DeprecationWarning")


ENGINE = "tests/flower/"
"""Folder of the tests that start Flower's real engine, or Ray; several engines at once starve each other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests on the engine first: they wait for most of their time."""
    items.sort(key=lambda item: not item.nodeid.startswith(ENGINE))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Where files are given to one process each, give all files on the engine to the same one."""
    from xdist.scheduler import LoadFileScheduling

    class OneEngine(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return ENGINE if nodeid.startswith(ENGINE) else str(super()._split_scope(nodeid))

    return OneEngine(config, log) if config.getoption("dist") == "loadfile" else None


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture(autouse=True)
def level_of_the_log() -> Iterator[None]:
    """What a test or a script that it runs makes of the logger's level ends with the test."""
    logger = logging.getLogger("pfmsmtrec")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines that are logged during the test, wherever the package's logger sends them."""
    from pfmsmtrec_flwr.log import logger

    handler, level = _Lines(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.lines
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """An empty folder for prepared data."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@contextmanager
def log_of_a_process() -> Iterator[None]:
    """Let a command log to its own standard error, as in a process of its own, and to the fixture `logged`."""
    from pfmsmtrec_flwr.log import logger

    before, propagate = list(logger.handlers), logger.propagate
    logger.handlers[:] = [handler for handler in before if isinstance(handler, _Lines)]
    try:
        yield
    finally:
        logger.handlers[:] = before
        logger.propagate = propagate


@pytest.fixture
def pfmsmtrec(monkeypatch: pytest.MonkeyPatch, home: Path) -> Callable[..., int]:
    """The command line, run in this process from an empty folder; returns its exit status."""
    folder = home.parent / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    from pfmsmtrec_flwr import cli

    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["pfmsmtrec", *map(str, arguments)])
        with log_of_a_process(), pytest.raises(SystemExit) as ended:
            cli.main()
        return int(str(ended.value.code))

    return run


@pytest.fixture
def tiny_conf(tmp_path: Path) -> Path:
    """A configuration that trains in a second: two rounds of a small model."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "method: pf-msmtrec\n"
        "data: {name: synthetic}\n"
        "model: {embedding_dim: 2, experts: 2, expert_layers: [8], tower_layers: [4]}\n"
        "train: {batch_size: 64, max_local_steps: 4}\n"
        "federation: {rounds: 2, reference: [alone]}\n"
    )
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Four scenarios under the data set's name ``tiny``, in a data folder of the session's."""
    from federated import Tiny  # torch and flwr: seconds that not every test needs

    made = Tiny(tmp_path_factory.mktemp("data"))
    for seed, (scenario, rows) in enumerate({"NL": 96, "ES": 80, "FR": 64, "US": 48}.items()):
        made.write("tiny", scenario, rows=rows, seed=seed)
    return made


@pytest.fixture
def flower_run() -> Iterator[None]:
    """The identity of a run, without which Flower makes no message."""
    from pfmsmtrec_flwr.federation.inprocess import run_identity

    with run_identity(1):
        yield
