"""`benchmarks/rolling_days.py`: later days are left out, and the figures of several days or worlds are put together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from benchmark_scripts import load_script
from compared import Direct
from layouts import kuairand

from pfmsmtrec_flwr.data.schema.document import load_schema
from pfmsmtrec_flwr.data.store.listing import list_scenarios
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.summary import read_summary

SMALL = "data.synthetic={train_rows: {A: 200, B: 150}, validation_rows: 60, test_rows: 80, ctr: 0.4}"
METHODS = ["--methods", "base-rate,logistic-pooled", "--reference", "base-rate", "--seeds", "1"]


@pytest.fixture(scope="module")
def rolling() -> ModuleType:
    return load_script("rolling_days")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Folder of results; trainings are done in this process."""

    @contextmanager
    def workers(count: int) -> Iterator[Executor]:
        assert count > 0
        yield Direct()

    monkeypatch.setattr("pfmsmtrec_flwr.comparison.workers.workers", workers)
    return tmp_path / "out"


def test_days_are_tested_one_after_the_other(rolling: ModuleType, here: Path, tmp_path: Path) -> None:
    source = kuairand(tmp_path / "data")
    logs = pd.concat([pd.read_csv(file) for file in sorted(source.glob("log_standard*"))])
    days = [str(day) for day in sorted(logs.date.unique())[-2:]]
    own = ["--source", str(source), "--days", ",".join(days), "--output", str(here), "--draws", "50"]
    rolling.main(["kuairand", *own, "--", *METHODS, "--draws", "50"])
    tested = logs[logs.tab.isin([0, 1, 2, 4, 6])]
    for day in days:
        stores = list_scenarios(here / day / "data", "kuairand")
        assert sum(len(store.splits["test"]) for store in stores) == (tested.date == int(day)).sum()
        assert all(f'"test": ["{day}"]' in json.dumps(store.extra["split"]) for store in stores)
        summary = read_summary(here / day)
        assert summary is not None and summary.bootstrap is not None
    pooled = json.loads((here / "pooled.json").read_text())
    assert pooled["units"] == tested[tested.date.isin([int(day) for day in days])].user_id.nunique()
    assert (pooled["draws"], pooled["unit"]) == (50, "users")
    table = (here / "tables" / "pooled.md").read_text()
    assert f"AUC, is_click, {days[0]} | AUC, is_click, {days[1]}" in table


def test_worlds_are_put_together_and_their_people_differ(
    rolling: ModuleType, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rolling.main(
        ["synthetic", "--worlds", "1,2", "--output", str(here), "--draws", "40", "--", *METHODS, "--set", SMALL]
    )
    pooled = json.loads((here / "pooled.json").read_text())
    found = [each for each in pooled["differences"] if each["scenario"] == "" and each["variant"] == "logistic-pooled"]
    by_world = []
    units = 0
    for world in ("1", "2"):
        summary = read_summary(here / world)
        assert summary is not None and summary.bootstrap is not None
        difference = summary.bootstrap.difference("logistic-pooled", "base-rate", "ctr")
        assert difference is not None
        by_world.append(difference.difference)
        units += summary.bootstrap.units
    assert by_world[0] != by_world[1]
    assert found[0]["difference"] == pytest.approx(np.mean(by_world))
    assert pooled["units"] == units
    assert {each["scenario"] for each in pooled["differences"]} >= {"1/A", "2/B"}
    printed = capsys.readouterr().out
    assert (here / "tables" / "pooled.md").read_text() in printed


def test_what_cannot_be_put_together_is_said(rolling: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^no finished comparison in "):
        rolling.pool({"1": (tmp_path, tmp_path)}, tmp_path)
    with pytest.raises(UserError, match=r"^aliexpress does not split by day"):
        rolling.last_day_schema(load_schema("aliexpress"))
    source = kuairand(tmp_path / "data")
    with pytest.raises(UserError, match=r"is of day 20200101: days look like \?$"):
        rolling.cut_source(load_schema("kuairand"), source, "20200101", tmp_path / "cut")
    with pytest.raises(SystemExit):
        rolling.main(["kuairand", "--output", str(tmp_path)])
