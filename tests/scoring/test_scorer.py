"""Scores of raw rows are those of the test evaluation; columns and scenarios that do not fit are refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scoring_shop import TASKS, TEST_DAY, impressions, trained_shop

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.predictions import read_predictions
from pfmsmtrec_flwr.results.writer import read_results
from pfmsmtrec_flwr.scoring.scorer import Scorer
from pfmsmtrec_flwr.training.metrics import task_metrics


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def run(shop: Path) -> Path:
    return trained_shop(shop)


def held_out(country: str) -> pd.DataFrame:
    frame = impressions()
    return frame[(frame.country == country) & (frame.day == TEST_DAY)]


FEW_SCORES = ("base-rate", "trees-alone", "trees-pooled")  # the labels are noise
ARCHITECTURES = ("single-task", "shared-bottom", "ple", "aitm", "esmm")


@pytest.mark.parametrize(
    ("method", "model"),
    [
        ("pf-msmtrec", {}),
        ("pooled-mmoe", {}),
        *((name, {}) for name in ("base-rate", "logistic-alone", "logistic-pooled", "trees-alone", "trees-pooled")),
        *(pytest.param(f"pooled-{name}", {}, marks=pytest.mark.slow) for name in ("star", "pepnet", "stem", "m3oe")),
        *(pytest.param(f"alone-{name}", {}, marks=pytest.mark.slow) for name in ARCHITECTURES),
        *(pytest.param(method, {}, marks=pytest.mark.slow) for method in ("alone", "apfl", "fedbn")),
        pytest.param("alone", {"architecture": "stem"}, marks=pytest.mark.slow),
    ],
)
def test_scores_are_those_of_the_test_evaluation(shop: Path, method: str, model: dict[str, str]) -> None:
    output = trained_shop(shop, method, model=model)
    for country in ("NL", "DE"):
        expected = read_predictions(output, country)
        assert expected is not None
        assert len(np.unique(expected[:, 0])) > (0 if method in FEW_SCORES else 25)
        raw = held_out(country).drop(columns=["click", "buy", "day"])
        scorer = Scorer.load(output / "clients" / method / country)
        scores = scorer.predict(raw, raw=True)
        assert list(scores.columns) == TASKS and scores.index.equals(raw.index)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
        routed = Scorer.load(output).predict(pa.Table.from_pandas(raw, preserve_index=False), raw=True)
        np.testing.assert_array_equal(routed, scores)
        calibrated = scorer.predict(raw)
        measured = read_results(output).scenarios[country].tasks
        for task, label in (("ctr", "click"), ("ctcvr", "buy")):
            labels = held_out(country)[label].to_numpy(np.uint8)
            figures = task_metrics(labels, calibrated[task].to_numpy())
            assert task_metrics(labels, scores[task].to_numpy()).auc == pytest.approx(measured[task].auc, abs=1e-6)
            order = np.lexsort((calibrated[task], scores[task]))
            assert (np.diff(calibrated[task].to_numpy()[order]) >= 0).all()
            few_pairs = 3 / (labels.sum() * (1 - labels).sum())  # a curve may tie or untie some in float32
            assert figures.auc == pytest.approx(measured[task].auc, abs=few_pairs)
            assert figures.logloss == pytest.approx(measured[task].logloss_calibrated, abs=1e-6)
            assert figures.calibration == pytest.approx(measured[task].calibration_calibrated, abs=1e-6)
            assert measured[task].logloss_calibrated != measured[task].logloss


def test_rows_are_routed_by_their_scenario_in_their_order(run: Path, logged: list[str]) -> None:
    scorer = Scorer.load(run)
    frame = impressions().set_index("row")
    scores = scorer.predict(frame)
    assert scorer.scenarios == ("DE", "NL") and scores.index.equals(frame.index)
    for country in ("NL", "DE"):
        mine = frame.country == country
        own = scorer.predict(frame[mine].drop(columns="country"), scenario=country)
        np.testing.assert_array_equal(scores[mine], own)
    elsewhere = frame.country == "US"
    assert scores[elsewhere].isna().all(axis=None) and scores[~elsewhere].notna().all(axis=None)
    message = f"{elsewhere.sum()} of 800 rows have no score: their scenario is none of DE, NL, or an inner join"
    assert any(message in line for line in logged)


def test_the_only_model_scores_rows_without_a_scenario_and_rows_of_its_own(run: Path) -> None:
    scorer = Scorer.load(run / "clients" / "alone" / "NL")
    frame = impressions(60)
    alone = scorer.predict(frame.drop(columns="country"))
    assert alone.notna().all(axis=None)
    routed = scorer.predict(frame)
    assert (routed.notna().all(axis=1) == (frame.country == "NL")).all()
    assert scorer.predict(frame, scenario="NL").equals(alone)  # whatever the column says


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": None}, r"^the rows: no column 'price', which the model of DE, NL needs; it has row, country, day, "),
        ({"price": None, "user": None}, r"^the rows: no columns 'user', 'price', which the model"),
        ({"country": None}, r"^the rows: no column 'country', which says the scenario .* with --scenario$"),
        ({"price": "dear"}, r"^the rows, line 1, column 'price': got 'dear', expected a number"),
    ],
)
def test_columns_that_do_not_fit_are_refused_by_name(run: Path, change: dict[str, Any], message: str) -> None:
    frame = impressions(20)
    for name, value in change.items():
        frame = frame.drop(columns=name) if value is None else frame.assign(**{name: value})
    with pytest.raises(UserError, match=message):
        Scorer.load(run).predict(frame)


def test_an_infinite_number_is_missing_as_in_training(run: Path) -> None:
    frame, scorer = impressions(20).assign(country="NL"), Scorer.load(run)
    assert scorer.predict(frame.assign(weight=np.inf)).equals(scorer.predict(frame.assign(weight=np.nan)))


def test_the_order_of_raw_columns_does_not_matter(run: Path) -> None:
    frame = impressions(50)
    scorer = Scorer.load(run)
    assert scorer.predict(frame[frame.columns[::-1]]).equals(scorer.predict(frame))


def test_a_column_twice_is_refused(run: Path) -> None:
    rows = pa.Table.from_pandas(impressions(5))
    twice = rows.append_column("price", rows.column("weight"))
    with pytest.raises(UserError, match=r"the rows: the column 'price' occurs twice"):
        Scorer.load(run).predict(twice)
    assert len(Scorer.load(run).predict(rows.append_column("row", rows.column("row")))) == 5  # nobody reads it
    frame = impressions(5)
    with pytest.raises(UserError, match=r"^the rows: the column 'price' occurs twice$"):
        Scorer.load(run).predict(pd.concat([frame, frame[["price"]]], axis=1))
    assert len(Scorer.load(run).predict(pd.concat([frame, frame[["row"]]], axis=1))) == 5


def test_columns_that_nobody_reads_may_hold_anything(run: Path) -> None:
    frame, scorer = impressions(6), Scorer.load(run)
    anything: list[Any] = [1, "a", None, 2.5, (), object()]
    odd = frame.assign(row=anything, more=1j, time=frame.time.astype("category"))
    assert scorer.predict(odd).equals(scorer.predict(frame))
    with pytest.raises(UserError, match=r"^the rows, column 'time': the values cannot be read \(.*: give it values of"):
        scorer.predict(odd.assign(time=odd.row))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1, 2], r"^got list, expected a pandas DataFrame or an Arrow Table$"),
        (
            pd.DataFrame({"user": [1, "a", 2.5]}),
            r"^the rows, column 'user': the values .* give it values of one type",
        ),
        (pd.DataFrame(index=range(3)), r"^the rows: no columns 'user', .* needs; it has none$"),
    ],
)
def test_rows_that_are_no_table_are_refused(run: Path, rows: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Scorer.load(run).predict(rows)


def test_unknown_values_and_missing_ones_are_scored_as_in_training(run: Path) -> None:
    frame = impressions(4).assign(
        country="NL", user=pd.Series([10**9, None, 10**9, None]), tags=pd.Series(["zz", None, "", "yy|xx"])
    )
    frame["item"] = 7
    same = frame[["price", "weight", "time", "shown", "age", "kind"]].iloc[[0] * 4].reset_index(drop=True)
    frame[same.columns] = same
    scores = Scorer.load(run).predict(frame)
    assert len(scores.drop_duplicates()) == 1  # all of them are row 0


def test_columns_whose_values_are_mostly_unknown_are_reported(run: Path, logged: list[str]) -> None:
    frame, scorer = impressions(40).assign(country="NL", kind="toy"), Scorer.load(run)
    scorer.predict(frame.assign(user=10**9, item=10**9), scenario="NL")
    scorer.predict(frame.iloc[:19].assign(kind="Toy"), scenario="NL")
    scorer.predict(frame.assign(kind="Toy"))  # DE does not have the field
    assert not logged
    scorer.predict(frame.assign(kind="Toy"), scenario="NL")
    (line,) = logged
    assert "does not know, which count as missing: kind in 40 of 40 rows; are they written as in training?" in line


def test_an_unknown_scenario_is_named(run: Path) -> None:
    with pytest.raises(UserError, match=r"^no model of scenario 'FR': there are DE, NL$"):
        Scorer.load(run).predict(impressions(5), scenario="FR")


def test_no_rows_have_no_scores(run: Path) -> None:
    scores = Scorer.load(run).predict(impressions(5).iloc[:0])
    assert list(scores.columns) == TASKS and len(scores) == 0
    only_elsewhere = impressions(50).query("country == 'US'")
    assert Scorer.load(run).predict(only_elsewhere).isna().all(axis=None)


def test_types_of_a_frame_do_not_matter(run: Path) -> None:
    frame = impressions(80).query("country == 'NL'")
    scorer = Scorer.load(run)
    expected = scorer.predict(frame)
    for kinds in (
        {"user": str, "item": float, "kind": "category", "age": float},
        {"user": "Int64", "item": "string", "price": "float32", "country": "category", "time": str},
    ):
        np.testing.assert_allclose(scorer.predict(frame.astype(kinds)), expected, atol=1e-6)  # type: ignore[arg-type]
    np.testing.assert_array_equal(scorer.predict(frame.assign(shown=pd.to_datetime(frame.shown))), expected)


def test_texts_that_arrow_stores_in_other_ways(run: Path) -> None:
    frame = impressions(40).query("country == 'NL'").astype({"price": str, "user": str})
    rows, scorer = pa.Table.from_pandas(frame, preserve_index=False), Scorer.load(run)
    expected = scorer.predict(rows)
    for kind in (pa.string_view(), pa.binary(), pa.binary_view(), pa.large_string()):
        stored = rows
        for name in ("price", "user", "tags"):
            place = rows.column_names.index(name)
            stored = stored.set_column(place, name, rows.column(name).cast(pa.string()).cast(kind))
        assert scorer.predict(stored).equals(expected), kind
    runs = pc.run_end_encode(rows.column("kind").combine_chunks())
    assert scorer.predict(rows.set_column(rows.column_names.index("kind"), "kind", runs)).equals(expected)


def test_models_of_different_schemas_do_not_share_a_table(run: Path) -> None:
    models = Scorer.load(run)._models
    other = models["NL"].encoder.schema.model_copy(update={"title": "another"})
    changed = replace(models["NL"], encoder=replace(models["NL"].encoder, schema=other))
    scorer = Scorer(models | {"NL": changed})
    frame = impressions(20).query("country == 'NL'")
    with pytest.raises(UserError, match=r"the models of DE and NL have different schemas.* name it with --scenario$"):
        scorer.predict(frame)
    assert scorer.predict(frame, scenario="NL").equals(Scorer.load(run).predict(frame, scenario="NL"))
