"""A comparison of four methods, read once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from reported import RunMaker

from pfmsmtrec_flwr.report.reading import read_study
from pfmsmtrec_flwr.report.study import Study


@pytest.fixture
def maker(tmp_path: Path) -> RunMaker:
    return RunMaker(tmp_path)


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a comparison: the floor without a log."""
    maker = RunMaker(tmp_path_factory.mktemp("compared"))
    for results in maker.compared():
        folder = maker.write(results, learned=results.method == "pf-msmtrec")
        if results.family == "floor":
            (folder / "metrics.jsonl").unlink()
    return maker.root


@pytest.fixture(scope="session")
def study(compared: Path) -> Study:
    return read_study(compared)
