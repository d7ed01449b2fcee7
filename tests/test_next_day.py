"""Runs that start from the models of an earlier run, on rows that are prepared anew."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from federated import same
from safetensors.torch import load_file
from scoring_shop import TEST_DAY, config, impressions, shop_schema, trained_shop

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.prepare.scenario_encoder import ScenarioEncoder
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.methods import METHODS, FederatedMethod
from pfmsmtrec_flwr.methods.starting import check_start
from pfmsmtrec_flwr.model import build_model
from pfmsmtrec_flwr.results.rounds import read_metrics
from pfmsmtrec_flwr.results.writer import read_results
from pfmsmtrec_flwr.scoring.earlier_model import EarlierModel
from pfmsmtrec_flwr.scoring.saved_model import load_model, predict_prepared
from pfmsmtrec_flwr.scoring.scorer import Scorer

STARTING = sorted(
    name
    for name, method in METHODS.items()
    if isinstance(method, FederatedMethod) and not method.no_start and not name.startswith("alone-")
)
THREE = {"column": "country", "values": {"NL": "NL", "DE": "DE", "US": "US"}, "others": "drop"}


class Day:
    """A prepared day and the run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"

    def run(self, method: str) -> Path:
        known = self.folder / f"first-{method}"
        if not known.exists():
            trained_shop(self.folder, method).rename(known)
        return known

    def models(self, method: str) -> Path:
        return self.run(method) / "clients" / method


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return Day(tmp_path_factory.mktemp("day"))


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, torch.Tensor]]:
    """State of each scenario's model as measured in round 0."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    save = LocalState.save_evaluated

    def watch(state: LocalState, number: int, tensors: dict[str, torch.Tensor], selected: int) -> None:
        if number == 0:
            found[state.folder.name] = {name: value.clone() for name, value in tensors.items()}
        save(state, number, tensors, selected)

    monkeypatch.setattr(LocalState, "save_evaluated", watch)
    return found


@pytest.fixture
def lines() -> Iterator[list[str]]:
    said: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("pfmsmtrec")
    from pfmsmtrec_flwr.log import logger as own

    assert own is logger or own.name
    own.addHandler(handler)
    yield said
    own.removeHandler(handler)


def prepared(folder: Path, rows: pd.DataFrame, **changes: Any) -> Path:
    (folder / "source").mkdir(parents=True)
    rows.to_csv(folder / "source" / "log.csv", index=False)
    prepare(shop_schema(**changes), folder / "source", folder / "data", progress=False)
    return folder / "data"


def started(data: Path, run: Path, output: Path, method: str = "pf-msmtrec", **settings: Any) -> RunConfig:
    own = config(method).with_settings({"federation.draws": 0, **settings}, "test")
    run_inline(own, data=data, output=output, start_from=str(run))
    return own


def scores(folder: Path, state: dict[str, torch.Tensor], store: ScenarioStore) -> np.ndarray:
    model, description = load_model(folder)
    model.load_state_dict(state)
    return predict_prepared(model, description, store)


@pytest.mark.parametrize("method", STARTING)
def test_on_the_same_rows_round_0_is_the_saved_model(
    day: Day, starts: dict[str, dict[str, torch.Tensor]], tmp_path: Path, method: str
) -> None:
    started(day.data, day.run(method), tmp_path / "next", method)
    assert sorted(starts) == ["DE", "NL"]
    for name, state in starts.items():
        folder = day.models(method) / name
        store = ScenarioStore.open(day.data / "shop" / name)
        np.testing.assert_allclose(scores(folder, state, store), np.load(folder / "predictions.npy"), atol=1e-6)


def test_the_start_is_measured_as_round_0_and_may_be_selected(day: Day, tmp_path: Path) -> None:
    started(day.data, day.run("pf-msmtrec"), tmp_path / "next", **{"train.lr": 1e-9, "federation.rounds": 2})
    log = read_metrics(tmp_path / "next")
    assert [entry.round for entry in log] == [0, 1, 2]
    assert log[0].up_bytes > 0 and log[0].scenarios["NL"].loss is None
    results = read_results(tmp_path / "next")
    assert results.rounds == 2
    assert results.start_from == str(day.run("pf-msmtrec"))
    assert {found.selected_round for found in results.scenarios.values()} <= {0, 1, 2}
