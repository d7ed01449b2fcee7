"""A comparison of four methods, read once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from reported import RunMaker

from pfmsmtrec_flwr.report.reading import read_study
from pfmsmtrec_flwr.report.study import Study
from pfmsmtrec_flwr.results.schema import Attainable, Seconds, Traffic


@pytest.fixture
def maker(tmp_path: Path) -> RunMaker:
    return RunMaker(tmp_path)


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a comparison: a floor without a log, and with two seeds one alone and two federated methods."""
    maker = RunMaker(tmp_path_factory.mktemp("compared"))
    folder = maker.write(maker.results("base-rate", 0.5, family="floor", parameters="global"))
    (folder / "metrics.jsonl").unlink()
    best = {name: {"ctr": Attainable(auc=0.875, logloss=0.125)} for name in ("NL", "US")}
    for seed, shift in ((0, -0.01), (1, 0.01)):
        maker.write(maker.results("alone", 0.6 + shift, seed=seed, family="alone", best_attainable=best))
        sent = Traffic(up_bytes=2_000_000, down_bytes=3_000_000)
        maker.write(maker.results("fedavg", 0.65 + shift, seed=seed, parameters="global", traffic=sent))
        ours = maker.results(
            "pf-msmtrec", 0.7 + shift, seed=seed, consensus=True, traffic=sent, seconds=Seconds(total=12.5, train=9.25)
        )
        maker.write(ours, learned=True)
    return maker.root


@pytest.fixture(scope="session")
def study(compared: Path) -> Study:
    return read_study(compared)
