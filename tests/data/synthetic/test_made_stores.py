"""Stores of made-up scenarios: made once, whole, and of the rows that the generator draws."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from made_up import assert_same, small

from pfmsmtrec_flwr.data.store.listing import list_scenarios
from pfmsmtrec_flwr.data.store.manifest import SPLITS, Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.synthetic import made_stores
from pfmsmtrec_flwr.data.synthetic.generator import generate
from pfmsmtrec_flwr.data.synthetic.made_stores import ensure_synthetic, synthetic_dataset_name
from pfmsmtrec_flwr.errors import UserError


def test_store_holds_what_generate_gives(tmp_path: Path) -> None:
    settings = small()
    store = ensure_synthetic(settings, "NL", tmp_path)
    rows = generate(settings, "NL")
    assert store.path == tmp_path / synthetic_dataset_name(settings) / "NL"
    for split in SPLITS:
        assert_same(store.splits[split], rows[split])
    assert store.tasks == ("ctr", "ctcvr")
    assert store.fields[0] == Field("categorical_1", 11, True)
    assert [field.name for field in store.fields if not field.federated] == ["categorical_8", "categorical_9"]
    assert store.numeric[0] == "numerical_1"
    assert len(store.numeric) == 63
    assert ScenarioStore.open(store.path, verify=True).extra["synthetic"] == settings.model_dump(mode="json")


def test_stores_of_one_data_set_agree_and_are_listed(tmp_path: Path) -> None:
    settings = small()
    stores = [ensure_synthetic(settings, name, tmp_path) for name in ("US", "NL")]
    assert stores[0].schema_hash == stores[1].schema_hash
    assert [each.scenario for each in list_scenarios(tmp_path, synthetic_dataset_name(settings))] == ["NL", "US"]


def test_an_existing_store_is_opened_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_synthetic(small(), "NL", tmp_path)

    def fail(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(made_stores, "_write", fail)
    assert len(ensure_synthetic(small(), "NL", tmp_path).splits["train"]) == 3000


def test_a_damaged_store_is_made_again(tmp_path: Path) -> None:
    store = ensure_synthetic(small(), "NL", tmp_path)
    (store.folder / "test.labels.bin").write_bytes(b"")
    assert len(ensure_synthetic(small(), "NL", tmp_path).splits["test"]) == 1500


def _rows_made(root: Path) -> int:
    return len(ensure_synthetic(small(), "NL", root).splits["train"])


def test_processes_at_once_leave_one_whole_store(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_rows_made, [tmp_path] * 4)) == [3000] * 4
    store = ScenarioStore.open(tmp_path / synthetic_dataset_name(small()) / "NL", verify=True)
    assert [child.name for child in store.path.parent.iterdir()] == ["NL"]


def test_threads_at_once_leave_one_whole_store(tmp_path: Path) -> None:
    barrier = threading.Barrier(4)
    made: list[int] = []

    def work() -> None:
        barrier.wait()
        made.append(_rows_made(tmp_path))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [3000] * 4
    store = ScenarioStore.open(tmp_path / synthetic_dataset_name(small()) / "NL", verify=True)
    assert [child.name for child in store.path.parent.iterdir()] == ["NL"]


def test_name_depends_on_the_settings_and_not_on_the_order_of_scenarios() -> None:
    first = small(train_rows={"NL": 3000, "US": 1000})
    assert re.fullmatch(r"synthetic-[0-9a-f]{8}", synthetic_dataset_name(first))
    assert synthetic_dataset_name(first) == synthetic_dataset_name(small(train_rows={"US": 1000, "NL": 3000}))
    others = [small(seed=1), small(train_rows={"NL": 3000}), small(ctr=0.1), small(scenario_conflict=1)]
    assert len({synthetic_dataset_name(each) for each in (first, *others)}) == 5


def test_a_task_with_one_class_in_training_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    settings = small(train_rows={"NL": 20}, ctr=0.01)
    with pytest.raises(UserError, match="scenario NL: 0 positives of ct"):
        ensure_synthetic(settings, "NL", tmp_path)
    assert list((tmp_path / synthetic_dataset_name(settings)).iterdir()) == []


def test_the_store_of_an_unknown_scenario_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no made-up scenario 'DE': train_rows names NL, US"):
        ensure_synthetic(small(), "DE", tmp_path)
