"""Every public data set, made up in its exact layout: prepared and trained on through the command line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import layouts
import numpy as np
import pandas as pd
import pytest

from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import DATASETS_FOLDER, load_schema
from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.rounds import read_metrics
from pfmsmtrec_flwr.results.writer import read_results

Command = Callable[..., int]

SMALL = ["federation.rounds=2", "model.experts=2", "model.expert_layers=[8]", "model.tower_layers=[4]"]
SMALL += ["model.embedding_dim=2", "train.batch_size=64", "train.max_local_steps=4", "train.device=cpu"]
SMALL += ["federation.reference=[fedavg]"]


def train(pfmsmtrec: Command, conf: str, dataset: str, tmp_path: Path, *more: str) -> Path:
    """Train two rounds of a data set's own conf file, made small."""
    settings = [word for setting in [*SMALL, f"data.name={dataset}", *more] for word in ("--set", setting)]
    output = tmp_path / "run"
    data = ["--data", tmp_path / "data", "--output", output, "--engine", "inline"]
    assert pfmsmtrec("run", "--conf", conf, *data, *settings) == 0
    assert len(read_metrics(output)) == 2
    return output


COUNTRIES = ["ES", "FR", "NL", "RU", "US"]
TABS = ["tab0", "tab1", "tab2", "tab4", "tab6"]
READERS = ["australia", "canada", "germany", "spain", "united-kingdom", "usa"]
AGES = ["age-from-25", "age-from-35", "age-from-45", "age-under-25"]
DATASETS = [
    ("aliexpress", "aliexpress", layouts.aliexpress, COUNTRIES, ("ctr", "ctcvr")),
    ("aliexpress", "aliexpress-raw", layouts.aliexpress_raw, COUNTRIES, ("ctr", "ctcvr")),
    ("tenrec", "tenrec-ctr", layouts.tenrec_ctr, ["category0", "category1"], ("click", "like")),
    ("ali-ccp", "ali-ccp", layouts.ali_ccp, ["domain1", "domain2", "domain3"], ("ctr", "ctcvr")),
    ("kuairand", "kuairand", layouts.kuairand, TABS, ("is_click", "long_view")),
    ("kuairand-1k", "kuairand-1k", partial(layouts.kuairand, version="1k"), TABS, ("is_click", "long_view")),
    ("movielens-100k", "movielens-100k", layouts.movielens, AGES, ("like", "love")),
    ("movielens-100k", "movielens-100k-official", layouts.movielens_official, AGES, ("like", "love")),
    ("book-crossing", "book-crossing", layouts.book_crossing, READERS, ("like", "love")),
]


@pytest.mark.parametrize(
    ("conf", "dataset", "layout", "scenarios", "tasks"), DATASETS, ids=[dataset for _, dataset, *_ in DATASETS]
)
def test_prepared_and_trained(
    pfmsmtrec: Command,
    tmp_path: Path,
    conf: str,
    dataset: str,
    layout: Callable[[Path], Path],
    scenarios: list[str],
    tasks: tuple[str, ...],
) -> None:
    source = layout(tmp_path / "source")
    assert pfmsmtrec("prepare", dataset, "--source", source, "--data", tmp_path / "data") == 0
    results = read_results(train(pfmsmtrec, conf, dataset, tmp_path))
    assert list(results.scenarios) == scenarios
    assert tuple(results.macro) == tasks
    for scenario in results.scenarios.values():
        assert all(figures.auc is not None for figures in scenario.tasks.values())


def test_every_data_set_has_a_test_here_and_a_section_in_the_readme() -> None:
    names = {file.stem for file in DATASETS_FOLDER.glob("*.yaml")}
    assert names == {dataset for _, dataset, *_ in DATASETS} | {"tenrec"}
    readme = (DATASETS_FOLDER / "README.md").read_text()
    assert all(f"prepare {name} " in readme for name in names)


def stores_of(name: str, source: Path, data: Path, **more: object) -> dict[str, ScenarioStore]:
    schema = load_schema(name, negatives=more.pop("negatives", None))  # type: ignore[arg-type]
    return {store.scenario: store for store in prepare(schema, source, data, **more)}  # type: ignore[arg-type]


def arrays(store: ScenarioStore) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in store.folder.glob("*.bin")}


def test_aliexpress_rows_labels_and_pages(tmp_path: Path) -> None:
    source = layouts.aliexpress(tmp_path / "source", ["NL", "ES"])
    stores = stores_of("aliexpress", source, tmp_path / "data", scenarios=["NL", "ES"])
    train, test = (pd.read_csv(source / "AliExpress_NL" / f"{part}.csv") for part in ("train", "test"))
    splits = stores["NL"].splits
    assert len(splits["train"]) + len(splits["validation"]) == len(train)
    np.testing.assert_array_equal(splits["test"].labels, test[["click", "conversion"]])
    np.testing.assert_array_equal(splits["test"].categorical[:, 0], test.categorical_1 + 1)
    # No page is both in training and in validation: the numbers of the user and the query tell pages apart.
    pages = [set(map(bytes, splits[split].numeric[:, :23])) for split in SPLITS[:2]]
    assert not pages[0] & pages[1]
    assert 0.04 < len(splits["validation"]) / len(train) < 0.2


def test_the_raw_layout_gives_the_same_as_the_preprocessed_one(tmp_path: Path) -> None:
    countries = ["NL", "US"]
    layouts.aliexpress(tmp_path / "one", countries)
    layouts.aliexpress_raw(tmp_path / "other", countries)
    one = stores_of("aliexpress", tmp_path / "one", tmp_path / "data", scenarios=countries)
    other = stores_of("aliexpress-raw", tmp_path / "other", tmp_path / "data", scenarios=countries)
    for country in countries:
        assert one[country].schema_hash == other[country].schema_hash
        assert arrays(one[country]) == arrays(other[country])


def test_raw_pages_that_match_nothing(tmp_path: Path) -> None:
    source = layouts.aliexpress_raw(tmp_path / "source", ["NL"])
    own = source / "aliexpress_NL_datasets"
    users = layouts.raw_tables(layouts.aliexpress_frame(600, 0))[0]
    layouts.write_zipped(own / "nl_user_train.zip", users.map(lambda value: value + 10_000))
    with pytest.raises(UserError, match=r"nl_user_train\.csv.*'user_1' matches no row of the main table's 'item_1'"):
        stores_of("aliexpress-raw", source, tmp_path / "data", scenarios=["NL"])


def test_missing_countries_are_reported_before_anything_is_read(tmp_path: Path) -> None:
    source = layouts.aliexpress(tmp_path / "source", ["NL", "ES"])
    with pytest.raises(UserError, match=r"no file 'AliExpress_FR/train\.csv' .*: --scenario ES --scenario NL$"):
        stores_of("aliexpress", source, tmp_path / "data")
    assert not (tmp_path / "data" / "aliexpress" / "NL").exists()


@pytest.mark.parametrize(
    ("name", "layout", "scenario"),
    [
        ("aliexpress", layouts.aliexpress, "FR"),
        ("aliexpress-raw", layouts.aliexpress_raw, "FR"),
        ("tenrec", layouts.tenrec, "QK-article"),
        ("tenrec", layouts.tenrec, "QB-video"),
        ("ali-ccp", layouts.ali_ccp, "domain2"),
    ],
)
def test_a_site_alone_prepares_the_same(
    tmp_path: Path, name: str, layout: Callable[[Path], Path], scenario: str
) -> None:
    negatives = 2 if name == "tenrec" else None
    source = layout(tmp_path / "source")
    together = stores_of(name, source, tmp_path / "all", negatives=negatives)[scenario]
    own = tmp_path / "own"
    keep_only(scenario, source, own)
    alone = stores_of(name, own, tmp_path / "alone", negatives=negatives, scenarios=[scenario])[scenario]
    assert arrays(alone) == arrays(together)
    assert (alone.folder / "manifest.json").read_bytes() == (together.folder / "manifest.json").read_bytes()
    assert alone.schema_hash == load_schema(name, negatives=negatives).schema_hash


def keep_only(scenario: str, source: Path, own: Path) -> None:
    """Copy what a site has: its own files, or its own rows of files that all share."""
    own.mkdir()
    for path in source.iterdir():
        if scenario in path.name:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, own / path.name)
        elif scenario.startswith("domain"):
            frame = pd.read_csv(path)
            frame[frame["301"] == int(scenario.removeprefix("domain"))].to_csv(own / path.name, index=False)


def test_clicked_articles_are_refused_with_the_reason(tmp_path: Path) -> None:
    source = layouts.tenrec(tmp_path / "source")
    expected = (
        r"scenario 'QB-article', task 'click': all \d+ training rows have the label 1, and nothing can be learned from "
        r"one class: its table holds positive rows only\. Give --negatives N .*--scenario QB-video --scenario QK-video"
    )
    with pytest.raises(UserError, match=expected):
        stores_of("tenrec", source, tmp_path / "data")


def test_videos_alone_need_no_negatives(tmp_path: Path) -> None:
    source = layouts.tenrec(tmp_path / "source")
    stores = stores_of("tenrec", source, tmp_path / "data", scenarios=["QB-video"])
    raw = pd.read_csv(source / "QB-video.csv")
    assert sum(len(split) for split in stores["QB-video"].splits.values()) == len(raw)  # repeated pairs are kept,
    assert raw.duplicated(["user_id", "item_id"]).any()
    users = [set(split.users.tolist()) for split in stores["QB-video"].splits.values() if split.users is not None]
    assert not (users[0] & users[1] or users[0] & users[2] or users[1] & users[2])  # in one split each
    category = stores["QB-video"].splits["test"].categorical[:, 4]
    assert set(category.tolist()) == {0, 1, 2}  # \N is row 0


def test_tenrec_with_made_up_negatives_and_unlike_tasks(
    pfmsmtrec: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, data = layouts.tenrec(tmp_path / "source"), tmp_path / "data"
    assert pfmsmtrec("prepare", "tenrec", "--source", source, "--data", data, "--negatives", "3") == 0
    own = ("federation.reference=[alone]", "evaluation.calibration=none")  # few rows, so curves have notes too
    output = train(pfmsmtrec, "tenrec", "tenrec", tmp_path, *own)
    results = read_results(output)
    tasks = {name: tuple(scenario.tasks) for name, scenario in results.scenarios.items()}
    assert tasks == {
        "QB-article": ("click",),
        "QB-video": ("click", "like"),
        "QK-article": ("click", "like"),
        "QK-video": ("click", "like"),
    }
    note = "click: 3 sampled negatives per positive, 0 in every task"
    assert [scenario.note for scenario in results.scenarios.values()] == [note, "", note, ""]
    assert results.macro["like"].auc == pytest.approx(
        np.mean([scenario.tasks["like"].auc for scenario in results.scenarios.values() if "like" in scenario.tasks])
    )
    capsys.readouterr()
    reported = [["show", output], ["show", output, "--markdown"], ["data", "show", "tenrec", "--data", data]]
    for words in reported:
        assert pfmsmtrec(*words) == 0
        printed = capsys.readouterr().out
        assert re.search(rf"QB-article(, QK-article)?: {re.escape(note)}", printed)
        assert "QB-video: " not in printed
    assert pfmsmtrec("data", "list", "--data", data) == 0
    assert "QB-article*" in capsys.readouterr().out.replace("\n", "")
    manifest = json.loads(next((data / "tenrec" / "QB-article").glob("*/manifest.json")).read_text())
    rows = len(pd.read_csv(source / "QB-article.csv"))
    assert manifest["extra"]["negatives"] == {"task": "click", "per_positive": 3, "rows": 3 * rows}


def test_made_up_rows_are_what_they_say(tmp_path: Path) -> None:
    source = layouts.tenrec(tmp_path / "source")
    store = stores_of("tenrec", source, tmp_path / "data", scenarios=["QB-article"], negatives=4)["QB-article"]
    raw = pd.read_csv(source / "QB-article.csv", na_values="\\N")
    fields = {field.name: place for place, field in enumerate(store.fields)}
    item = fields["item_id"]
    seen: dict[int, set[int]] = {}
    clicked: set[tuple[int, ...]] = set()
    for split in store.splits.values():
        assert split.users is not None
        for user, row, label in zip(split.users.tolist(), split.categorical, split.labels[:, 0], strict=True):
            if label:
                seen.setdefault(user, set()).add(int(row[item]))
                clicked.add((*row[[item, fields["category_first"], fields["category_second"]]].tolist(),))
    made = 0
    for split in store.splits.values():
        assert split.users is not None
        positives = int(split.labels.sum())
        assert len(split) == 5 * positives
        for user, row, label in zip(split.users.tolist(), split.categorical, split.labels[:, 0], strict=True):
            if not label:
                made += 1
                assert int(row[item]) not in seen[user]  # in any split
                assert (*row[[item, fields["category_first"], fields["category_second"]]].tolist(),) in clicked
    assert made == 4 * len(raw)


def test_negatives_where_a_schema_has_none() -> None:
    with pytest.raises(UserError, match=r"kuairand\.yaml has no section negatives"):
        load_schema("kuairand", negatives=2)


def test_real_samples_of_aliexpress(tmp_path: Path) -> None:
    samples = layouts.SHARED / "aliexpress-sample"
    if not samples.is_dir():
        pytest.skip("the AliExpress samples are not beside the checkout")
    for country, prefix in (("NL", "fuxictr_tiny_mtl_{}"), ("ES", "rechub_aliexpress_{}_sample")):
        folder = tmp_path / "source" / f"AliExpress_{country}"
        folder.mkdir(parents=True)
        for part in ("train", "test"):
            shutil.copy(samples / f"{prefix.format(part)}.csv", folder / f"{part}.csv")
    stores = stores_of("aliexpress", tmp_path / "source", tmp_path / "data", scenarios=["NL", "ES"])
    for store, count, positives in ((stores["NL"], 100, (6, 1)), (stores["ES"], 20, (10, 2))):
        assert len(store.splits["test"]) == count
        assert store.positives("test") == positives
        assert (store.splits["test"].categorical[:, 0] > 0).all()
        encodings = store.extra["encodings"]
        assert isinstance(encodings, dict)
        assert all(report.get("unknown", 0) == 0 for report in encodings.values())  # type: ignore[union-attr]


def test_real_samples_of_ali_ccp(tmp_path: Path) -> None:
    samples = layouts.SHARED / "ali-ccp-sample"
    if not samples.is_dir():
        pytest.skip("the Ali-CCP samples are not beside the checkout")
    for part in ("train", "val", "test"):
        shutil.copy(samples / f"rechub_{part}.csv", tmp_path / f"ali_ccp_{part}.csv")
    store = stores_of("ali-ccp", tmp_path, tmp_path, scenarios=["domain1"])["domain1"]
    assert [len(store.splits[split]) for split in SPLITS] == [100, 50, 50]
    assert store.positives("train")[0] == round(100 * pd.read_csv(samples / "rechub_train.csv").click.mean())
    encodings = store.extra["encodings"]
    assert isinstance(encodings, dict)
    assert all(report.get("unknown", 0) == 0 for report in encodings.values())  # type: ignore[union-attr]
