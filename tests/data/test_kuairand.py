"""KuaiRand-Pure: a made-up fixture in the official layout, and the real slice where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import SHARED, kuairand
from sklearn.metrics import roc_auc_score

from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import load_schema
from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError

SLICE = SHARED / "kuairand-pure-slice"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return kuairand(tmp_path / "KuaiRand-Pure" / "data")


def test_the_official_layout(source: Path, tmp_path: Path) -> None:
    stores = prepare(load_schema("kuairand"), source, tmp_path / "data")
    assert [store.scenario for store in stores] == ["tab0", "tab1", "tab2", "tab4", "tab6"]
    logs = pd.concat([pd.read_csv(file) for file in sorted(source.glob("log_standard*"))])
    joined = logs.merge(pd.read_csv(source / "user_features_pure.csv"), on="user_id", suffixes=("", "_u"))
    joined = joined.merge(pd.read_csv(source / "video_features_basic_pure.csv"), on="video_id", suffixes=("", "_v"))
    assert len({store.schema_hash for store in stores}) == 1
    for store in stores:
        assert store.tasks == ("is_click", "long_view")
        assert store.extra["split"] == {"by_date": "date", "validation": ["20220507"], "test": ["20220508"]}
        own = joined[joined.tab == int(store.scenario.removeprefix("tab"))]
        assert [len(store.splits[split]) for split in SPLITS] == [
            (own.date < 20220507).sum(),
            (own.date == 20220507).sum(),
            (own.date == 20220508).sum(),
        ]
        check_fields(store, own[own.date == 20220508])


def check_fields(store: ScenarioStore, own: pd.DataFrame) -> None:
    starts = np.cumsum([0, *(field.most for field in store.fields)])
    categorical = store.splits["test"].categorical
    columns = {field.name: categorical[:, start] for field, start in zip(store.fields, starts, strict=False)}
    np.testing.assert_array_equal(columns["video_id"], own.video_id + 1)
    np.testing.assert_array_equal(columns["hour"], own.hourmin // 100 + 1)
    first_tag = own.tag.fillna("-1").str.partition(",")[0].astype(int)
    np.testing.assert_array_equal(columns["tag"], first_tag + 1)
    place = next(start for field, start in zip(store.fields, starts, strict=False) if field.name == "tag")
    topics = own.tag.fillna("").str.count(r"\d+")
    np.testing.assert_array_equal((categorical[:, place : place + 3] > 0).sum(axis=1), topics)
    np.testing.assert_array_equal(columns["video_type"], own.video_type.map({"NORMAL": 1, "AD": 2, "UNKNOWN": 0}))
    np.testing.assert_array_equal(
        columns["follow_user_num_range"], own.follow_user_num_range.map({"0": 1, "(0,10]": 2, "500+": 8})
    )
    np.testing.assert_array_equal(columns["is_live_streamer"], own.is_live_streamer.map({-124: 0, 1: 2}))
    np.testing.assert_array_equal(columns["onehot_feat4"], own.onehot_feat4.map({0.0: 1, 14.0: 0}).fillna(0))
    assert len(np.unique(columns["music_id"])) == own.music_id.nunique()
    local = {field.name for field in store.fields if not field.federated}
    assert local == {"user_id", "onehot_feat2", "onehot_feat3", "onehot_feat5", "onehot_feat7", "onehot_feat8"}
    register_days = store.splits["test"].numeric[:, store.numeric.index("register_days")]
    assert (register_days == 0).all()  # one value beside the sentinel: constant


def test_a_missing_side_table_is_named(source: Path, tmp_path: Path) -> None:
    (source / "user_features_pure.csv").unlink()
    with pytest.raises(UserError, match=r"no file 'user_features_pure\.csv' in"):
        prepare(load_schema("kuairand"), source, tmp_path / "data")


@pytest.mark.realdata
@pytest.mark.skipif(not SLICE.is_dir(), reason="the KuaiRand-Pure slice is not beside the checkout")
def test_the_real_slice(tmp_path: Path) -> None:
    stores = prepare(load_schema("kuairand"), SLICE, tmp_path)
    got = {store.scenario: [len(store.splits[split]) for split in SPLITS] for store in stores}
    assert got == {
        "tab0": [5906, 1355, 1699],
        "tab1": [42167, 11688, 16148],
        "tab2": [1670, 439, 594],
        "tab4": [3883, 1011, 1145],
        "tab6": [3264, 1114, 1326],
    }
    positives = {store.scenario: store.positives("test") for store in stores}
    assert positives == {
        "tab0": (150, 64),
        "tab1": (8408, 5898),
        "tab2": (314, 226),
        "tab4": (720, 564),
        "tab6": (146, 81),
    }
    large = next(store for store in stores if store.scenario == "tab1")
    assert max(_single_feature_aucs(large)) < 0.7  # more would smell of leakage
    videos = large.splits["test"].categorical[:, 1]
    assert (videos > 0).all()


def _single_feature_aucs(store: ScenarioStore) -> list[float]:
    """AUC on test days of each feature by itself, categories by their smoothed training rate."""
    train, test = store.splits["train"], store.splits["test"]
    found = []
    for task in range(len(store.tasks)):
        mean = train.labels[:, task].mean()
        sizes = np.repeat([field.size for field in store.fields], [field.most for field in store.fields])
        for place, size in enumerate(sizes):
            count = np.bincount(train.categorical[:, place], minlength=size)
            clicks = np.bincount(train.categorical[:, place], weights=train.labels[:, task], minlength=size)
            rate = (clicks + 10 * mean) / (count + 10)
            found.append(roc_auc_score(test.labels[:, task], rate[test.categorical[:, place]]))
        for place in range(len(store.numeric)):
            auc = roc_auc_score(test.labels[:, task], test.numeric[:, place])
            found.append(max(auc, 1 - auc))
    return found
