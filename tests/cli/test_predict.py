"""`pfmsmtrec predict`: from a log to a model to the scores of new rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scoring_shop import TASKS, impressions, trained_shop

from pfmsmtrec_flwr.scoring.scorer import Scorer


def test_new_rows_are_scored(
    pfmsmtrec: Callable[..., int],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = trained_shop(tmp_path / "shop")
    frame = impressions(300, seed=5).drop(columns=["click", "buy"])
    frame.to_csv("new.csv", index=False)
    capfd.readouterr()
    assert pfmsmtrec("predict", run, "new.csv", "--output", "scores.csv", "--keep", "row, user") == 0
    capfd.readouterr()
    scores = pd.read_csv("scores.csv")
    assert list(scores.columns) == ["row", "user", *TASKS] and scores.row.equals(frame.row)
    np.testing.assert_allclose(scores[TASKS], Scorer.load(run).predict(frame), atol=1e-6)
    model = run / "clients" / "alone" / "NL"
    assert pfmsmtrec("predict", model, "new.csv", "--scenario", "NL") == 0
    printed = capfd.readouterr()
    assert printed.out.splitlines()[0] == '"ctr","ctcvr"' and len(printed.out.splitlines()) == 301
    assert pfmsmtrec("predict", run, "new.csv", "--scenario", "FR") == 1
    assert "error: no model of scenario 'FR': there are DE, NL" in capfd.readouterr().err


def test_a_model_of_made_up_data_says_that_it_cannot_score(
    pfmsmtrec: Callable[..., int], tiny_conf: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sizes = "data.synthetic={train_rows: {NL: 200, US: 120}, validation_rows: 80, test_rows: 100, ctr: 0.3}"
    assert pfmsmtrec("run", "--conf", tiny_conf, "--engine", "inline", "--set", sizes, "--output", "out") == 0
    Path("new.csv").write_text("a\n1\n")
    capfd.readouterr()
    assert pfmsmtrec("predict", "out", "new.csv") == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert "clients/pf-msmtrec/NL cannot score raw rows: its rows were made up, and made-up data has no raw" in error
