"""Labels that are missing in some rows, from a table to figures: such a row does not count for its task."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.store.manifest import MANIFEST, MISSING_LABEL, SPLITS
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import run_method
from pfmsmtrec_flwr.methods import METHODS
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
from pfmsmtrec_flwr.model.build import ARCHITECTURES
from pfmsmtrec_flwr.results.replicates import LabelledRows, Prediction, Replicates
from pfmsmtrec_flwr.training.draws import drawn_auc
from pfmsmtrec_flwr.training.evaluation import measure
from pfmsmtrec_flwr.training.local import backward
from pfmsmtrec_flwr.validation import parse

ROWS = 600


def schema(**more: Any) -> DatasetSchema:
    document: dict[str, Any] = {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["log.csv"]},
        "scenario": {"column": "page", "values": {"a": "A", "b": "B"}},
        "tasks": {"click": "click", "order": {"column": "order", "unlabelled": "skip"}},
        "users": "user",
        "split": {"random": {"validation": 0.2, "test": 0.2}},
        "fields": {
            "item": {"hash": {"buckets": 8}, "embedding": "federated"},
            "user": {"vocabulary": {}, "embedding": "local"},
        },
    }
    return parse(DatasetSchema, document | more, "shop.yaml")


def table() -> pd.DataFrame:
    """Return rows of which every third has no order, not even a zero."""
    draw = np.random.default_rng(0)
    columns = {"page": draw.choice(["a", "b"], ROWS), "item": draw.integers(0, 30, ROWS)}
    frame = pd.DataFrame(columns | {"user": draw.integers(0, 25, ROWS), "click": draw.integers(0, 2, ROWS)})
    frame["order"] = (frame["click"] * draw.integers(0, 2, ROWS)).astype("Int64")
    frame.loc[::3, "order"] = pd.NA
    return frame


def prepared(folder: Path, frame: pd.DataFrame, **more: Any) -> dict[str, ScenarioStore]:
    (folder / "source").mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "source" / "log.csv", index=False)
    return {store.scenario: store for store in prepare(schema(**more), folder / "source", folder / "data")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unlabelled")
    prepared(folder, table())
    return folder / "data"


# From the table to the store


def test_missing_labels_have_a_value_of_their_own_and_are_counted(tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level("INFO", logger="pfmsmtrec"):
        stores = prepared(tmp_path, table())
    for name, store in stores.items():
        own = table()[table()["page"] == name.lower()]
        labels = np.concatenate([split.labels for split in store.splits.values()])
        assert sorted(map(tuple, labels.tolist())) == sorted(
            zip(own["click"], own["order"].fillna(MISSING_LABEL), strict=True)
        )
        missing = int(own["order"].isna().sum())
        assert f"{name}: {missing} of {len(own)} rows have no label of 'order'" in caplog.text
        for split in SPLITS:
            orders = store.splits[split].labels[:, 1]
            assert store.positives(split)[1] == store.splits[split].positives()[1] == (orders == 1).sum()
            assert store.labelled(split) == (len(orders), (orders != MISSING_LABEL).sum())
            assert store.labelled(split) == tuple(store.splits[split].labelled())
        ScenarioStore.open(store.path, verify=True)
    assert "'click'" not in caplog.text


def test_a_missing_label_is_an_error_unless_the_task_allows_it(tmp_path: Path) -> None:
    message = (
        r"log\.csv, line 5, column 'order': got an empty value, expected a label 0 or 1 "
        r"\(or tasks\.order\.unlabelled: skip, where labels may be missing\)$"
    )
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, table(), tasks={"click": "click", "order": "order"})
    frame = table().astype({"order": object})
    frame.loc[4, "order"] = "maybe"
    with pytest.raises(UserError, match=r"line 6, column 'order': got 'maybe', expected a label 0 or 1$"):
        prepared(tmp_path, frame)


def test_labels_from_a_threshold_may_be_missing(tmp_path: Path) -> None:
    frame = table()
    frame["order"] = frame["order"].astype("Float64") * 7.5
    tasks = {"click": "click", "order": {"column": "order", "at_least": 5}}
    with pytest.raises(UserError, match=r"expected a number, for the label of the task 'order' \(or tasks\.order"):
        prepared(tmp_path, frame, tasks=tasks)
    tasks["order"] |= {"unlabelled": "skip"}  # type: ignore[operator]
    assert prepared(tmp_path, frame, tasks=tasks)["A"].label_counts == prepared(tmp_path, table())["A"].label_counts


@pytest.mark.parametrize("more", [{}, {"at_least": 1}])
def test_a_value_may_stand_for_a_missing_label(tmp_path: Path, more: dict[str, Any]) -> None:
    task = {"column": "order", "unlabelled": "skip", "missing": [-1]} | more
    marked = prepared(tmp_path, table().fillna({"order": -1}), tasks={"click": "click", "order": task})
    empty = prepared(tmp_path / "empty", table())
    assert [store.checksums for store in marked.values()] == [store.checksums for store in empty.values()]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"missing": [-1]}, "add unlabelled: skip"),
        ({"missing": [0], "unlabelled": "skip"}, "0 is both a label and missing"),
        ({"missing": ["none"], "unlabelled": "skip", "at_least": 1}, "expected numbers beside at_least"),
        ({"unlabelled": "drop"}, "unlabelled"),
    ],
)
def test_tasks_that_contradict_themselves(task: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        schema(tasks={"order": {"column": "order"} | task})


def test_a_row_without_a_match_in_a_side_table_has_no_label(tmp_path: Path) -> None:
    frame = table().assign(request=np.arange(ROWS))
    (tmp_path / "source").mkdir()
    frame[["request", "order"]].dropna().to_csv(tmp_path / "source" / "orders.csv", index=False)
    joins = [{"files": ["orders.csv"], "key": "request", "how": "left"}]
    joined = prepared(tmp_path, frame.drop(columns="order"), joins=joins)
    whole = prepared(tmp_path / "whole", table())
    assert {name: store.checksums for name, store in joined.items()} == {
        name: store.checksums for name, store in whole.items()
    }


def test_a_split_without_any_label_is_refused(tmp_path: Path) -> None:
    frame = table().assign(day=np.repeat([20240101, 20240102, 20240103], ROWS // 3))
    frame.loc[frame["day"] == 20240103, "order"] = pd.NA
    split = {"by_date": {"column": "day", "last_days": {}}}
    with pytest.raises(UserError, match=r"scenario 'A', task 'order': no row of the test split has a label"):
        prepared(tmp_path, frame, split=split)


def test_where_no_label_is_missing_the_files_are_the_same(tmp_path: Path) -> None:
    frame = table().fillna({"order": 0})
    allowed = prepared(tmp_path / "skip", frame)
    refused = prepared(tmp_path / "refuse", frame, tasks={"click": "click", "order": "order"})
    for name, store in allowed.items():
        assert store.checksums == refused[name].checksums
        assert not any(split.unlabelled for split in store.splits.values())
        assert store.labelled("test") == (len(store.splits["test"]),) * 2
        documents = [json.loads((each.folder / MANIFEST).read_text()) for each in (store, refused[name])]
        assert ["labelled" in document["splits"]["train"] for document in documents] == [True, False]


def test_the_digest_of_a_schema_without_missing_labels_is_as_before() -> None:
    dumped = schema().model_dump(mode="json")["tasks"]
    assert ["unlabelled" in task for task in dumped.values()] == [False, True]


# Training


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_what_a_missing_label_holds_does_not_matter(architecture: str) -> None:
    draw = np.random.default_rng(0)
    fields = (FieldSpec("item", 9, True), FieldSpec("scenario", 3, False))
    spec = ModelSpec(fields, 1, ("click", "order"), scenarios=2)
    settings = {"architecture": architecture, "embedding_dim": 4, "experts": 2, "expert_layers": (6,), "dropout": 0.0}
    categorical = np.stack([draw.integers(0, 9, 24), draw.integers(1, 3, 24)], axis=1).astype(np.int32)
    numeric = torch.from_numpy(draw.normal(size=(24, 1)).astype(np.float32))
    labels = torch.from_numpy(draw.integers(0, 2, (24, 2)).astype(np.float32))
    there = torch.from_numpy(draw.random((24, 2)) < 0.6)
    gradients, losses = [], []
    for known in (there, None):
        for missing in (0.0, 1.0):
            model = build_model(spec, ModelSettings.model_validate(settings | {"tower_layers": (4,)}), seed=0).train()
            batch = Batch(torch.from_numpy(categorical), numeric, torch.where(there, labels, missing), known)
            losses.append(backward(model, batch, mixed_precision=False))
            gradients.append({name: value.grad for name, value in model.named_parameters() if value.grad is not None})
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)
    assert not torch.equal(losses[2], losses[3])


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_trains_and_counts_labelled_rows(data: Path, tmp_path: Path, method: str) -> None:
    if method.startswith("trees"):
        pytest.importorskip("lightgbm")
    (tmp_path / "conf.yaml").write_text(
        f"method: {method}\ndata: {{name: shop}}\ntrain: {{batch_size: 32, device: cpu}}\nfederation: {{rounds: 2}}\n"
        "model: {embedding_dim: 2, experts: 2, expert_layers: [6], tower_layers: [3]}\n"
    )
    results = run_method(load_config(str(tmp_path / "conf.yaml")), data=data, output=tmp_path / "out")
    for name, own in results.scenarios.items():
        labels = ScenarioStore.open(data / "shop" / name).splits["test"].labels
        for column, task in enumerate(("click", "order")):
            figures = own.tasks[task]
            assert figures.examples == (labels[:, column] != MISSING_LABEL).sum()
            assert figures.positives == (labels[:, column] == 1).sum()
            assert figures.auc is not None
            assert figures.logloss is not None
            assert 0 < figures.logloss < 2
        assert own.tasks["order"].examples < own.examples.test
        assert own.note.startswith("order: ")
        assert "rows without a label do not count (train " in own.note


def test_the_base_rate_is_that_of_labelled_rows(data: Path, tmp_path: Path) -> None:
    (tmp_path / "conf.yaml").write_text("method: base-rate\ndata: {name: shop}\n")
    results = run_method(load_config(str(tmp_path / "conf.yaml")), data=data, output=tmp_path / "out")
    for name, own in results.scenarios.items():
        store = ScenarioStore.open(data / "shop" / name)
        rate = store.positives("train")[1] / store.labelled("train")[1]
        share = store.positives("test")[1] / store.labelled("test")[1]
        loss = -(share * math.log(rate) + (1 - share) * math.log(1 - rate))
        assert own.tasks["order"].logloss == pytest.approx(loss)
        assert own.tasks["order"].calibration == pytest.approx(rate / share)


# Figures


@st.composite
def rows_with_gaps(draw: st.DrawFn) -> tuple[Split, NDArray[np.float32]]:
    """Return rows of one task, some of them without a label, and predictions."""
    count = draw(st.integers(4, 40))
    labels = draw(st.lists(st.sampled_from([0, 1, MISSING_LABEL]), min_size=count, max_size=count))
    users = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    scores = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    if all(label == MISSING_LABEL for label in labels):
        labels[0] = 1
    split = Split(
        np.zeros((count, 0), np.int32),
        np.zeros((count, 0), np.float32),
        np.array(labels, np.uint8)[:, None],
        np.array(users, np.int64),
        None,
        unlabelled=True,
    )
    return split, np.array([[score / 10] for score in scores], dtype=np.float32)


def without_gaps(split: Split) -> tuple[Split, NDArray[np.bool_]]:
    there = split.labels[:, 0] != MISSING_LABEL
    return replace(split.take(there), unlabelled=False), there


@given(rows_with_gaps())
def test_figures_are_those_of_the_labelled_rows_alone(made: tuple[Split, NDArray[np.float32]]) -> None:
    split, scores = made
    dropped, there = without_gaps(split)
    assert measure(scores, split, ["click"], grouped=True) == measure(scores[there], dropped, ["click"], grouped=True)
    assert split.positives() == dropped.positives()
    assert split.labelled() == [len(dropped)]
    np.testing.assert_array_equal(split.for_task(0).labels, dropped.labels)


@given(rows_with_gaps())
def test_draws_are_those_of_the_labelled_rows_alone(made: tuple[Split, NDArray[np.float32]]) -> None:
    split, scores = made
    dropped, there = without_gaps(split)

    def drawn(rows: Split, own: NDArray[np.float32]) -> NDArray[np.float32]:
        return drawn_auc(ScenarioStore(Path(), "d", "A", (), (), ("click",), "", {"test": rows}), own, 5)["click"]

    np.testing.assert_array_equal(drawn(split, scores), drawn(dropped, scores[there]))


@given(rows_with_gaps())
def test_the_bootstrap_counts_labelled_rows_alone(made: tuple[Split, NDArray[np.float32]]) -> None:
    split, scores = made
    dropped, there = without_gaps(split)
    units = np.append(np.asarray(split.users), 5)  # one more row holds the number of units
    found = []
    for labels, own, probabilities in (
        (np.append(split.labels, [[0]], 0), units, np.append(scores, [[0.5]], 0)),
        (np.append(dropped.labels, [[0]], 0), units[np.append(there, True)], np.append(scores[there], [[0.5]], 0)),
    ):
        rows = LabelledRows(("click",), labels, own, {"click": np.flatnonzero(labels[:, 0] != MISSING_LABEL)})
        prediction = Prediction("fedavg", 0, "A", probabilities.astype(np.float32))
        found.append(Replicates({"A": rows}, [prediction], draws=6, seed=1).mean("fedavg", "click", ["A"], {0}))
    whole, alone = found
    np.testing.assert_array_equal(whole, alone)
