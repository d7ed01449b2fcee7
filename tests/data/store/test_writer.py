"""Writing a store: what is written comes back, whole or not at all."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_stores import rows, writer, written

from pfmsmtrec_flwr.data.store import writer as stores
from pfmsmtrec_flwr.data.store.manifest import MANIFEST, MISSING_LABEL, SPLITS, Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError


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
    changed: dict[str, Any] = rows(0, 1) | {name: None if value is None else np.array(value)}
    with writer(tmp_path / "shop" / "NL") as each, pytest.raises(ValueError, match=message):
        each.append("train", **changed)


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


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_stream: object, _values: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "shop" / "NL"
    with writer(path) as each:
        monkeypatch.setattr(stores._Stream, "write", full)
        with pytest.raises(UserError, match=f"disk full while writing {path}"):
            each.append("train", **rows(0, 3))
    assert list((tmp_path / "shop").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_device_is_reported_at_commit(tmp_path: Path) -> None:
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


def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write .*name a folder with --data"), writer(tmp_path / "shop" / "NL"):
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


def test_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a" / "NL"), written(tmp_path / "b" / "NL")
    assert {f.name: f.read_bytes() for f in first.folder.iterdir()} == {
        f.name: f.read_bytes() for f in second.folder.iterdir()
    }


def test_labels_may_be_missing_in_named_tasks_only(tmp_path: Path) -> None:
    with writer(tmp_path / "shop" / "NL", unlabelled=["ctcvr"]) as each:
        for split in SPLITS:
            labels = np.array([[1, MISSING_LABEL], [0, 1], [1, MISSING_LABEL]])
            each.append(split, **rows(0, 3) | {"labels": labels})
        each.append("train", **rows(3, 5))
        with pytest.raises(ValueError, match="labels: not 0 or 1"):
            each.append("train", **rows(0, 1) | {"labels": np.array([[MISSING_LABEL, 0]])})
        found = each.commit()
    assert (found.positives("train"), found.labelled("train")) == ((3, 2), (5, 3))
    assert (found.positives("test"), found.labelled("test")) == ((2, 1), (3, 1))
    assert (found.splits["train"].positives(), found.splits["train"].labelled()) == ([3, 2], [5, 3])
    assert found.splits["train"].take(np.array([0, 3])).labelled() == [2, 1]
    assert found.splits["train"].for_task(1).categorical[:, 0].tolist() == [1, 3, 4]
    assert found.splits["train"].for_task(0).labels.tolist() == found.splits["train"].labels.tolist()


def test_all_rows_of_a_store_from_before_have_labels(tmp_path: Path) -> None:
    found = written(tmp_path / "shop" / "NL")
    assert b"labelled" not in (found.folder / MANIFEST).read_bytes()
    assert found.labelled("train") == (12, 12)
    assert found.splits["train"].labelled() == [12, 12]
    assert found.splits["train"].for_task(0) is found.splits["train"]


def write_note(folder: Path) -> list[str]:
    (folder / "note.json").write_text("[1, 2]")
    return ["note.json"]


def test_further_files_belong_to_the_store(tmp_path: Path) -> None:
    assert written(tmp_path / "NL").attached == {}
    with writer(tmp_path / "NL") as each:
        for split in SPLITS:
            each.append(split, **rows(0, 5))
        each.attach(write_note)
        store = each.commit()
    assert list(store.attached) == ["note.json"]
    assert (store.folder / "note.json").read_text() == "[1, 2]"
    assert ScenarioStore.open(tmp_path / "NL", verify=True).attached == store.attached
    (store.folder / "note.json").write_text("[1, 3]")
    with pytest.raises(UserError, match=r"note\.json: its checksum differs from the manifest's"):
        ScenarioStore.open(tmp_path / "NL", verify=True)


def test_a_manifest_without_further_files_is_that_of_before(tmp_path: Path) -> None:
    assert "attached" not in (written(tmp_path / "NL").folder / "manifest.json").read_text()
