"""Scores of raw rows are those of the test evaluation; columns and scenarios that do not fit are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scoring_shop import TASKS, TEST_DAY, impressions, trained_shop

from pfmsmtrec_flwr.results.predictions import read_predictions
from pfmsmtrec_flwr.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def run(shop: Path) -> Path:
    return trained_shop(shop)


def held_out(country: str) -> pd.DataFrame:
    frame = impressions()
    return frame[(frame.country == country) & (frame.day == TEST_DAY)]


@pytest.mark.parametrize("country", ["NL", "DE"])
@pytest.mark.parametrize(
    ("method", "model"),
    [
        *((method, {}) for method in ("pf-msmtrec", "alone", "alone-single-task", "alone-shared-bottom", "alone-ple")),
        *((method, {}) for method in ("alone-aitm", "alone-esmm", "apfl", "fedbn")),
        ("alone", {"architecture": "stem"}),
    ],
)
def test_scores_are_those_of_the_test_evaluation(shop: Path, method: str, model: dict[str, str], country: str) -> None:
    output = trained_shop(shop, method, model=model)
    expected = read_predictions(output, country)
    assert expected is not None and len(np.unique(expected[:, 0])) > 50
    raw = held_out(country).drop(columns=["click", "buy", "day"])
    scores = Scorer.load(output / "clients" / method / country).predict(raw)
    assert list(scores.columns) == TASKS and scores.index.equals(raw.index)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
    by_file = Scorer.load(output).predict(pa.Table.from_pandas(raw, preserve_index=False))
    np.testing.assert_array_equal(by_file, scores)
