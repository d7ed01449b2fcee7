"""KuaiRand-Pure: a made-up fixture in the official layout, and the real slice where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pfmsmtrec_flwr.data.prepare import prepare
from pfmsmtrec_flwr.data.schema import load_schema
from pfmsmtrec_flwr.data.store import SPLITS, ScenarioStore
from pfmsmtrec_flwr.errors import UserError

SLICE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "kuairand-pure-slice"


def columns_of(header: str) -> list[str]:
    return header.split(",")


LOG_COLUMNS = columns_of(
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
USER_COLUMNS = columns_of(
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,"
    "follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,register_days,"
    "register_days_range," + ",".join(f"onehot_feat{number}" for number in range(18))
)
VIDEO_COLUMNS = columns_of(
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag"
)


def log(rows: int, days: list[int], draw: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame(0, index=range(rows), columns=LOG_COLUMNS)
    frame["user_id"] = draw.integers(0, 50, rows)
    frame["video_id"] = draw.integers(0, 80, rows)
    frame["date"] = np.sort(draw.choice(days, rows))
    frame["hourmin"] = draw.integers(0, 24, rows) * 100
    frame["tab"] = draw.choice([0, 1, 2, 4, 6, 11], rows)
    for label in ("is_click", "long_view", "is_like"):
        frame[label] = draw.integers(0, 2, rows)
    return frame


def users(draw: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame(0, index=range(50), columns=USER_COLUMNS)
    frame["user_id"] = range(50)
    frame["user_active_degree"] = draw.choice(["full_active", "UNKNOWN"], 50)
    frame["is_live_streamer"] = draw.choice([-124, 1], 50)
    frame["follow_user_num"] = draw.integers(0, 5000, 50)
    frame["follow_user_num_range"] = draw.choice(["0", "(0,10]", "500+"], 50)  # a comma within quotes
    frame["register_days"] = draw.choice([-124, 100], 50)
    frame["onehot_feat4"] = draw.choice([0.0, 14.0, np.nan], 50)
    return frame


def videos(draw: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame(0, index=range(80), columns=VIDEO_COLUMNS)
    frame["video_id"] = range(80)
    frame["author_id"] = draw.integers(0, 10**7, 80)
    frame["video_type"] = draw.choice(["NORMAL", "AD", "UNKNOWN"], 80)
    frame["upload_dt"] = "2022-04-10"
    frame["upload_type"] = "Web"
    frame["video_duration"] = draw.choice([5000.0, 10633.0, np.nan], 80)
    frame["music_id"] = 9_000_000_000 + draw.integers(0, 3, 80)
    frame["tag"] = draw.choice(["39", "3,39", "11,2,68", ""], 80)
    return frame


@pytest.fixture
def source(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    folder = tmp_path / "KuaiRand-Pure" / "data"
    folder.mkdir(parents=True)
    # two logs as in the full download; their names sort by time
    log(900, [20220420, 20220421], draw).to_csv(folder / "log_standard_4_08_to_4_21_pure.csv", index=False)
    log(900, [20220507, 20220508], draw).to_csv(folder / "log_standard_4_22_to_5_08_pure.csv", index=False)
    log(50, [20220422], draw).to_csv(folder / "log_random_4_22_to_5_08_pure.csv", index=False)
    users(draw).to_csv(folder / "user_features_pure.csv", index=False)
    videos(draw).to_csv(folder / "video_features_basic_pure.csv", index=False)
    return folder


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
    columns = {field.name: store.splits["test"].categorical[:, place] for place, field in enumerate(store.fields)}
    np.testing.assert_array_equal(columns["video_id"], own.video_id + 1)
    np.testing.assert_array_equal(columns["hour"], own.hourmin // 100 + 1)
    first_tag = own.tag.fillna("-1").str.partition(",")[0].astype(int)
    np.testing.assert_array_equal(columns["tag"], first_tag + 1)
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
        for place, field in enumerate(store.fields):
            count = np.bincount(train.categorical[:, place], minlength=field.size)
            clicks = np.bincount(train.categorical[:, place], weights=train.labels[:, task], minlength=field.size)
            rate = (clicks + 10 * mean) / (count + 10)
            found.append(roc_auc_score(test.labels[:, task], rate[test.categorical[:, place]]))
        for place in range(len(store.numeric)):
            auc = roc_auc_score(test.labels[:, task], test.numeric[:, place])
            found.append(max(auc, 1 - auc))
    return found
