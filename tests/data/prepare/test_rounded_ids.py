"""Ids that were rounded when their file was written are reported with file, column and number of rows."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.validation import parse

ROWS = 60
BIG = 2**53 + 1
SCHEMA = parse(
    DatasetSchema,
    {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["log.*"]},
        "joins": [{"files": ["items.parquet"], "key": "item"}],
        "scenario": {"names": ["all"]},
        "tasks": {"click": "click"},
        "users": "user",
        "split": {"random": {"validation": 0.3, "test": 0.3}},
        "fields": {
            "item": {"hash": {"buckets": 200}, "embedding": "federated"},
            "brand": {"hash": {"buckets": 200}, "embedding": "federated"},
            "size": {"bands": [5], "embedding": "federated"},
        },
        "numeric": {"turnover": {}},
    },
    "shop.yaml",
)


def frames(*, rounded: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and items; the ids are integers, or numbers as pandas has them in a column with a gap."""
    kind = np.dtype("float64" if rounded else "int64")
    number = pd.Series(range(ROWS))
    log = pd.DataFrame({"item": number % 9, "user": (BIG + number.to_numpy()).astype(kind), "click": number % 2})
    log = log.assign(size=2.0**60, turnover=2.0**60)  # amounts, which may be rounded
    items = pd.DataFrame({"item": range(9), "brand": (BIG + np.arange(9)).astype(kind)})
    return log, items


@pytest.mark.parametrize("name", ["log.csv", "log.parquet"])
@pytest.mark.parametrize("rounded", [True, False])
def test_rounded_ids_are_reported(tmp_path: Path, name: str, rounded: bool, caplog: pytest.LogCaptureFixture) -> None:
    log, items = frames(rounded=rounded)
    if name.endswith("csv"):
        log.to_csv(tmp_path / name, index=False)
    else:
        log.to_parquet(tmp_path / name)
    items.to_parquet(tmp_path / "items.parquet")
    with caplog.at_level(logging.WARNING, logger="pfmsmtrec"):
        prepare(SCHEMA, tmp_path, tmp_path / "data")
    found = [message for message in caplog.messages if "rounded" in message]
    where = [(tmp_path / "items.parquet", "brand", 9), (tmp_path / name, "user", ROWS)] if rounded else []
    assert len(found) == len(where)
    for (path, column, count), message in zip(where, found, strict=True):
        assert message.startswith(f"{path}, column '{column}': {count} rows hold ids of 16 digits or more as floating")


def test_integers_beyond_the_exact_ones_are_features(tmp_path: Path) -> None:
    log, items = frames(rounded=False)
    log.assign(turnover=pd.Series(range(ROWS)).add(2**60)).to_parquet(tmp_path / "log.parquet")
    items.to_parquet(tmp_path / "items.parquet")
    (store,) = prepare(SCHEMA, tmp_path, tmp_path / "data")
    moments = store.extra["numeric"]
    assert moments["turnover"]["mean"] == pytest.approx(2.0**60)  # type: ignore[call-overload, index]


def test_rounded_ids_of_several_columns_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, _ = frames(rounded=True)
    log.assign(seen_1=log.user, seen_2=log.user.where(log.item > 0), user="x").to_csv(tmp_path / "log.csv", index=False)
    several = {"several": {"columns": ["seen_{1..2}"], "most": 2}, "vocabulary": {}, "embedding": "local"}
    document = SCHEMA.model_dump(exclude_unset=True) | {"joins": [], "fields": {"seen": several}}
    with caplog.at_level(logging.WARNING, logger="pfmsmtrec"):
        prepare(parse(DatasetSchema, document, "shop.yaml"), tmp_path, tmp_path / "data")
    found = [message.partition(" rows hold")[0] for message in caplog.messages if "rounded" in message]
    rows = [ROWS, int((log.item > 0).sum())]
    assert found == [f"{tmp_path / 'log.csv'}, column 'seen_{place + 1}': {rows[place]}" for place in range(2)]
