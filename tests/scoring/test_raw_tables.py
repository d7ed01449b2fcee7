"""Tables of raw rows: with or without a header line, with side tables or with their columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scoring_shop import config, impressions, shop_schema

from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import run_method
from pfmsmtrec_flwr.scoring.raw_tables import RawTable, table_on_disk
from pfmsmtrec_flwr.scoring.scorer import Scorer


def trained(folder: Path, **changes: Any) -> Scorer:
    """Train on what lies in the folder ``source``."""
    prepare(shop_schema(**changes), folder / "source", folder / "data", progress=False)
    run_method(config("alone"), data=folder / "data", output=folder / "run")
    return Scorer.load(folder / "run")


SIDE = ["price", "weight"]


def with_side_table(folder: Path, how: str) -> tuple[Scorer, pd.DataFrame, pd.DataFrame]:
    """Train on a log whose prices lie in a table of items; the last items have none."""
    frame = impressions()
    items = frame.drop_duplicates("item")[["item", *SIDE]].rename(columns={"item": "id"}).sort_values("id")
    items = items[items.id < 280].assign(price=lambda own: own.price.astype(str).str.replace(".", ","))
    (folder / "source").mkdir(parents=True)
    frame.drop(columns=SIDE).to_csv(folder / "source" / "log.csv", index=False)
    items.to_csv(folder / "source" / "items.csv", index=False)
    join = {
        "files": ["items.csv"],
        "key": "item",
        "key_there": "id",
        "how": how,
        "columns": {"price": {"decimal": ","}},
    }
    return trained(folder, joins=[join]), frame.drop(columns=SIDE), items


@pytest.mark.parametrize("how", ["left", "inner"])
def test_side_tables_are_read_or_their_columns_are_in_the_rows(tmp_path: Path, how: str, logged: list[str]) -> None:
    scorer, log, items = with_side_table(tmp_path, how)
    rows = log[log.country != "US"].reset_index(drop=True)
    scores = scorer.predict(rows, source=tmp_path / "source")
    assert f"side table: {tmp_path / 'source' / 'items.csv'}" in logged
    unmatched = rows.item >= 280
    assert unmatched.any() and (scores.isna().any(axis=1) == (unmatched & (how == "inner"))).all()
    joined = rows.merge(items, left_on="item", right_on="id", how="left").drop(columns="id")
    there = scorer.predict(joined)
    scored = scores.notna().all(axis=1)
    np.testing.assert_allclose(there[scored], scores[scored], atol=1e-6)
    with pytest.raises(UserError) as caught:
        scorer.predict(rows)
    assert "no columns 'price', 'weight', which the model of DE, NL needs" in str(caught.value)
    assert str(caught.value).endswith(
        "columns of side tables are read from the folder --source, or the rows must have them"
    )


def test_new_items_of_a_side_table_and_none_that_matches(tmp_path: Path, logged: list[str]) -> None:
    scorer, log, _ = with_side_table(tmp_path, "left")
    rows = log[log.country == "NL"].assign(item=10**6)
    assert scorer.predict(rows, source=tmp_path / "source").notna().all(axis=None)
    assert any("its column 'id' matches no row of the main table's 'item'" in line for line in logged)


def test_several_matches_of_a_row_are_refused(tmp_path: Path) -> None:
    scorer, log, items = with_side_table(tmp_path, "inner")
    pd.concat([items, items]).to_csv(tmp_path / "source" / "items.csv", index=False)
    with pytest.raises(UserError, match=r"the rows: a row has several matches in a side table, expected one score"):
        scorer.predict(log, source=tmp_path / "source")
    (tmp_path / "source" / "items.csv").unlink()
    with pytest.raises(UserError, match=r"no file 'items\.csv' in "):
        scorer.predict(log, source=tmp_path / "source")


def test_a_folder_of_side_tables_for_a_schema_without_any(tmp_path: Path, logged: list[str]) -> None:
    (tmp_path / "source").mkdir()
    impressions().to_csv(tmp_path / "source" / "log.csv", index=False)
    scorer = trained(tmp_path)
    rows = impressions(10)
    assert scorer.predict(rows, source=tmp_path).equals(scorer.predict(rows))
    assert any("the schema of shop has none" in line for line in logged)


def test_files_without_a_header_line(tmp_path: Path) -> None:
    frame = impressions()
    (tmp_path / "source").mkdir()
    frame.to_csv(tmp_path / "source" / "log.csv", index=False, header=False)
    scorer = trained(tmp_path, table={"files": ["log.csv"], "header": list(frame.columns)})
    expected = scorer.predict(frame)  # a frame has names
    frame.drop(columns=["click", "buy"])[frame.columns[::-1].drop(["click", "buy"])].to_csv(
        tmp_path / "named.csv", index=False
    )
    frame.to_parquet(tmp_path / "new.parquet")
    for name in ("source/log.csv", "named.csv", "new.parquet"):
        blocks = list(scorer.score(table_on_disk(tmp_path / name), progress=False))
        np.testing.assert_allclose(np.concatenate([block.scores for block in blocks]), expected, atol=1e-6)


def test_side_tables_of_each_scenario_need_its_name_and_the_split_comes_from_the_files_name(tmp_path: Path) -> None:
    schema = shop_schema(
        table={"files": ["{scenario}_log_{split}.csv"]},
        joins=[{"files": ["{scenario}_items_{split}.csv"], "key": "item"}],
        scenario={"names": ["NL", "DE"]},
        split={"by_file": {"train": "train", "test": "test", "cut": {"share": 0.1}}},
    )
    for name in ("NL_items_train", "NL_items_test", "NL_log_train", "rows"):
        impressions(3).to_csv(tmp_path / f"{name}.csv", index=False)
    for rows, expected in (("NL_log_train.csv", "NL_items_train.csv"), ("rows.csv", "NL_items_test.csv")):
        table = RawTable.of(schema, table_on_disk(tmp_path / rows), tmp_path, "NL")
        assert [[source.name for source in side] for side in table.part.sides] == [[expected]]
    with pytest.raises(UserError, match=r"each scenario of shop has side tables of its own: score one .* --scenario"):
        RawTable.of(schema, table_on_disk(tmp_path / "rows.csv"), tmp_path, "")


def test_scenarios_with_files_of_their_own_are_named_in_a_column_or_by_the_caller(tmp_path: Path) -> None:
    frame = impressions().query("country != 'US'").reset_index(drop=True)
    (tmp_path / "source").mkdir()
    for name in ("NL", "DE"):
        frame[frame.country == name].to_csv(tmp_path / "source" / f"{name}.csv", index=False)
    scorer = trained(tmp_path, table={"files": ["{scenario}.csv"]}, scenario={"names": ["NL", "DE"]})
    with pytest.raises(UserError, match=r"there are models of DE, NL: name the scenario .*or add a column 'scenario'"):
        scorer.predict(frame)
    routed = scorer.predict(frame.assign(scenario=frame.country))
    for name in ("NL", "DE"):
        own = frame[frame.country == name]
        assert routed.loc[own.index].equals(scorer.predict(own, scenario=name))
    with pytest.raises(UserError, match=r"the rows, line 1, column 'scenario': got 'FR', expected one of DE, NL"):
        scorer.predict(frame.assign(scenario="FR"))
    only = Scorer({"NL": scorer._models["NL"]})
    assert only.predict(frame.assign(scenario=frame.country)).notna().all(axis=1).equals(frame.country == "NL")
    assert only.predict(frame).notna().all(axis=None)
