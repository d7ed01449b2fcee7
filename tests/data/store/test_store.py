"""The prepared store: what is written comes back, damage is told, replacing is atomic."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pfmsmtrec_flwr.data.store import replacing, store
from pfmsmtrec_flwr.data.store.store import SPLITS, Field, ScenarioStore, StoreWriter, list_scenarios
from pfmsmtrec_flwr.errors import UserError


def writer(path: Path, **changes: Any) -> StoreWriter:
    arguments: dict[str, Any] = {
        "dataset": "shop",
        "scenario": path.name,
        "fields": [Field("user", 10, False), Field("item", 5, True)],
        "numeric": ["price"],
        "tasks": ["ctr", "ctcvr"],
        "schema_hash": "abc",
        "users": True,
    }
    return StoreWriter(path, **(arguments | changes))


def rows(start: int, stop: int) -> dict[str, np.ndarray]:
    number = np.arange(start, stop)
    return {
        "categorical": np.stack([number % 10, number % 5], axis=1),
        "numeric": number[:, None] / 4,
        "labels": np.stack([number % 2, number % 4 == 0], axis=1),
        "users": number * 2**40,
    }


def written(path: Path, extra: dict[str, Any] | None = None, first: int = 0) -> ScenarioStore:
    with writer(path) as each:
        for split in SPLITS:
            each.append(split, **rows(first, first + 7))
            each.append(split, **rows(first + 7, first + 12))
        return each.commit(extra)


def test_rows_come_back_in_order_over_chunks(tmp_path: Path) -> None:
    found = written(tmp_path / "shop" / "NL", {"note": [1, None]})
    expected = rows(0, 12)
    for split in SPLITS:
        got = found.splits[split]
        assert len(got) == 12
        np.testing.assert_array_equal(got.categorical, expected["categorical"])
        np.testing.assert_array_equal(got.numeric, expected["numeric"])
        np.testing.assert_array_equal(got.labels, expected["labels"])
        np.testing.assert_array_equal(got.users, expected["users"])
        assert got.probabilities is None
        assert [got.categorical.dtype, got.numeric.dtype, got.labels.dtype] == [np.int32, np.float32, np.uint8]
        assert found.positives(split) == (6, 3)
    assert found.fields == (Field("user", 10, False), Field("item", 5, True))
    assert (found.dataset, found.scenario, found.schema_hash, found.extra) == ("shop", "NL", "abc", {"note": [1, None]})


def test_files_are_the_flat_arrays_and_checksums_their_blake2b(tmp_path: Path) -> None:
    found = written(tmp_path / "shop" / "NL")
    data = (found.path / "train.categorical.bin").read_bytes()
    assert data == rows(0, 12)["categorical"].astype("<i4").tobytes()
    manifest = json.loads((found.path / "manifest.json").read_text())
    expected = hashlib.blake2b(data, digest_size=16).hexdigest()
    assert manifest["splits"]["train"]["checksums"]["categorical"] == expected


def test_arrays_are_mapped_and_read_only(tmp_path: Path) -> None:
    split = written(tmp_path / "shop" / "NL").splits["train"]
    with pytest.raises(ValueError, match="read-only"):
        split.categorical[0, 0] = 1


def test_no_columns_and_no_rows_are_fine(tmp_path: Path) -> None:
    with writer(tmp_path / "shop" / "NL", fields=[], numeric=[], users=False, probabilities=True) as each:
        probabilities = np.full((3, 2), 0.25)
        each.append(
            "train",
            categorical=np.empty((3, 0), dtype=np.int64),
            numeric=np.empty((3, 0)),
            labels=np.ones((3, 2), dtype=bool),
            probabilities=probabilities,
        )
        found = each.commit()
    assert found.splits["train"].categorical.shape == (3, 0)
    assert found.splits["test"].labels.shape == (0, 2)
    np.testing.assert_array_equal(found.splits["train"].probabilities, probabilities)
    assert found.splits["train"].users is None
    ScenarioStore.open(found.path, verify=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("categorical", [[10, 0]], "outside its embedding table"),
        ("categorical", [[-1, 0]], "outside its embedding table"),
        ("categorical", [[1, 2, 3]], "shape"),
        ("numeric", [[np.nan]], "finite"),
        ("numeric", [[np.inf]], "finite"),
        ("labels", [[0, 2]], "0 or 1"),
        ("labels", [[0, 0.5]], "0 or 1"),
        ("users", None, "expected"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, name: str, value: Any, message: str) -> None:
    given = rows(0, 1) | {name: None if value is None else np.array(value)}
    with writer(tmp_path / "shop" / "NL") as each, pytest.raises(ValueError, match=message):
        each.append("train", **given)


def test_leaving_without_commit_leaves_nothing_and_keeps_the_old_store(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "NL"
    with pytest.raises(KeyboardInterrupt), writer(path) as each:
        each.append("train", **rows(0, 3))
        raise KeyboardInterrupt
    assert list((tmp_path / "shop").iterdir()) == []
    written(path)
    with writer(path) as each:
        each.append("train", **rows(0, 3))
    assert len(ScenarioStore.open(path, verify=True).splits["train"]) == 12
    assert [child.name for child in (tmp_path / "shop").iterdir()] == ["NL"]


@pytest.mark.parametrize("exchange", [True, False])
def test_replacing_keeps_mapped_arrays_of_the_old_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:  # as on a system that cannot swap two folders in one step
        monkeypatch.setattr(replacing, "_exchange", lambda _first, _second: False)
    old = written(tmp_path / "shop" / "NL")
    new = written(tmp_path / "shop" / "NL", first=100)
    assert old.splits["train"].numeric[0, 0] == 0
    assert new.splits["train"].numeric[0, 0] == 25
    assert [child.name for child in (tmp_path / "shop").iterdir()] == ["NL"]


@pytest.mark.parametrize("exchange", [True, False])
def test_concurrent_commits_leave_one_whole_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(replacing, "_exchange", lambda _first, _second: False)
    path = tmp_path / "shop" / "NL"
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def commit(number: int) -> None:
        try:
            with writer(path) as each:
                each.append("train", **rows(number, number + 5))
                start.wait()
                each.commit({"number": number})
        except (UserError, threading.BrokenBarrierError) as error:
            if exchange:  # without it a reader may come between two steps
                failures.append(error)

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = ScenarioStore.open(path, verify=True)
    assert found.splits["train"].numeric[0, 0] == found.extra["number"] / 4
    assert [child.name for child in path.parent.iterdir()] == ["NL"]


def test_checksum_is_verified_on_request_only(tmp_path: Path) -> None:
    path = written(tmp_path / "shop" / "NL").path
    file = path / "test.labels.bin"
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)
    ScenarioStore.open(path)
    with pytest.raises(UserError, match=r"test\.labels\.bin: its checksum differs"):
        ScenarioStore.open(path, verify=True)


def test_size_is_always_compared(tmp_path: Path) -> None:
    path = written(tmp_path / "shop" / "NL").path
    with (path / "train.numeric.bin").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(UserError, match=r"train\.numeric\.bin: got 49 bytes, the manifest says 48: prepare"):
        ScenarioStore.open(path)


def test_a_lost_file_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "shop" / "NL").path
    (path / "train.users.bin").unlink()
    with pytest.raises(UserError, match=r"cannot read .*train\.users\.bin"):
        ScenarioStore.open(path)


def test_missing_store_says_how_to_prepare(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pfmsmtrec prepare shop --source DIR"):
        ScenarioStore.open(tmp_path / "shop" / "NL")


def test_other_version_is_told_before_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "NL"
    path.mkdir(parents=True)
    (path / "manifest.json").write_text('{"store_version": 0}')
    with pytest.raises(UserError, match="prepared by store version 0, this is 1: prepare again"):
        ScenarioStore.open(path)


@pytest.mark.parametrize("text", ["{", "[]", '{"store_version": 1}'])
def test_damaged_manifest_is_told(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "shop" / "NL").path
    (path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json"):
        ScenarioStore.open(path)


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_stream: object, _values: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "shop" / "NL"
    with writer(path) as each:
        monkeypatch.setattr(store._Stream, "write", full)
        with pytest.raises(UserError, match=f"disk full while writing {path}"):
            each.append("train", **rows(0, 3))
    assert list((tmp_path / "shop").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_device_is_told_at_commit(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "NL"
    with writer(path) as each:
        each.append("train", **rows(0, 3))
        with Path("/dev/full").open("wb") as device:
            each._streams["train", "numeric"]._handle = device
            device.write(b"x")
            with pytest.raises(UserError, match="disk full while writing"):
                each.commit()
            os.dup2(os.open(os.devnull, os.O_WRONLY), device.fileno())  # so that closing can flush
    assert list((tmp_path / "shop").iterdir()) == []


def test_unwritable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write .*give a --data folder"), writer(tmp_path / "shop" / "NL"):
        pass


def test_long_abandoned_temporary_folders_are_removed_young_ones_kept(tmp_path: Path) -> None:
    old, young = (tmp_path / "shop" / f".NL.{name}.tmp" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "train.labels.bin").write_bytes(b"x")
    past = time.time() - 2 * 24 * 3600
    for path in (old / "train.labels.bin", old):
        os.utime(path, (past, past))
    written(tmp_path / "shop" / "NL")
    assert not old.exists()
    assert young.exists()


def test_list_scenarios_is_sorted_and_skips_what_is_no_store(tmp_path: Path) -> None:
    for name in ("US", "ES"):
        written(tmp_path / "shop" / name)
    (tmp_path / "shop" / ".FR.x.tmp").mkdir()
    (tmp_path / "shop" / "notes").mkdir()
    assert [each.scenario for each in list_scenarios(tmp_path, "shop")] == ["ES", "US"]
    assert list_scenarios(tmp_path, "other") == []


def test_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a" / "NL"), written(tmp_path / "b" / "NL")
    assert {f.name: f.read_bytes() for f in first.path.iterdir()} == {
        f.name: f.read_bytes() for f in second.path.iterdir()
    }
