"""The page from logs to scores: its commands run in order with its output, and pandas finds the same numbers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_walkthrough import FILE_MARK, without_figures

import pfmsmtrec_flwr
from pfmsmtrec_flwr.data.prepare.scenario_encoder import ScenarioEncoder
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.results.predictions import SCENARIO_FILE
from pfmsmtrec_flwr.scoring.scorer import Scorer

PAGE = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent / "docs" / "from-logs-to-scores.md"
DAYS = {
    "train": slice("2024-03-01", "2024-03-08"),
    "validation": slice("2024-03-09", "2024-03-09"),
    "test": slice("2024-03-10", "2024-03-10"),
}
TASKS = ["clicked", "carted", "purchased"]


def test_the_page_runs_from_top_to_bottom(
    pfmsmtrec: Callable[..., int], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"__name__": "transcript"}
    commands, printed = [], ""
    runtime = find_spec("onnxruntime") is not None
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if language == "python":
            if runtime or "onnx" not in block:
                exec(compile(block, PAGE.name, "exec"), names)
            printed = capsys.readouterr().out if runtime else "True True"
        elif language == "sh":
            for line in (line for line in block.splitlines() if "onnx" not in line or runtime):
                words = shlex.split(line)
                assert pfmsmtrec(*words[1:]) == 0, line
                commands.append(words[1])
            scores = Path("scores.csv").read_text() if Path("scores.csv").exists() else ""
            printed = "\n".join([*capsys.readouterr(), scores])
        elif (named := FILE_MARK.match(block)) is not None:
            Path(named[1]).write_text(block)
        else:
            shown = printed if language == "text" else Path("shops.yaml").read_text()
            for line in block.splitlines():
                assert line == "..." or figureless(line) in figureless(shown), line
    assert commands == ["data", "prepare", "data", "run", "predict", *(["export"] if runtime else [])]
    for market in ("NA", "NL", "US"):
        check_numbers(market, home / ".pfmsmtrec" / "data" / "shops" / market)


def check_numbers(market: str, folder: Path) -> None:
    """Compare rows, labels, prices and scores of a market with what pandas reads."""
    log = pd.read_csv(f"logs/{market.lower()}.csv", dtype=str, keep_default_na=False)
    log.index = pd.DatetimeIndex(pd.to_datetime(log.shown_at)).tz_localize(None)
    store = ScenarioStore.open(folder)
    assert store.tasks == tuple(task for task in TASKS if task in log)
    for split, days in DAYS.items():
        own = log.loc[days]
        assert len(store.splits[split]) == len(own)
        assert store.positives(split) == tuple((own[task] == "Y").sum() for task in store.tasks)
        assert store.labelled(split) == tuple((own[task] != "").sum() for task in store.tasks)
    thousands, decimal = ".," if market == "NL" else ",."
    plain = log.price.str.strip("€$ ").str.replace(thousands, "").str.replace(decimal, ".")
    prices = pd.to_numeric(plain, errors="coerce")
    encoder = ScenarioEncoder.load(store.folder)
    mean = float(np.log1p(prices.loc[DAYS["train"]]).mean())
    np.testing.assert_allclose(encoder.standardiser.mean, [mean], rtol=1e-9)
    output = Path("runs/first")
    raw = log.loc[DAYS["test"]].drop(columns=list(store.tasks)).reset_index(drop=True)
    expected = np.load(output / "clients" / "pf-msmtrec" / market / SCENARIO_FILE)
    scores = Scorer.load(output).predict(raw, scenario=market, raw=True)[list(store.tasks)]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)


def figureless(text: str) -> str:
    return without_figures(re.sub(r"\d\.\d{5,}", "0.0000", text))
