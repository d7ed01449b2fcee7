"""Opening a store: arrays are mapped, damage is one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written_stores import rows, writer, written

from pfmsmtrec_flwr.data.store import reader
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL, SPLITS, Manifest, read_manifest
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, made_up_rows, unlabelled_rows
from pfmsmtrec_flwr.errors import UserError


def test_arrays_are_mapped_and_read_only(tmp_path: Path) -> None:
    split = written(tmp_path / "shop" / "NL").splits["train"]
    with pytest.raises(ValueError, match="read-only"):
        split.categorical[0, 0] = 1


def test_checksum_is_verified_on_request_only(tmp_path: Path) -> None:
    store = written(tmp_path / "shop" / "NL")
    file = store.folder / "test.labels.bin"
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)
    ScenarioStore.open(store.path)
    with pytest.raises(UserError, match=r"test\.labels\.bin: its checksum differs"):
        ScenarioStore.open(store.path, verify=True)


def test_size_is_always_compared(tmp_path: Path) -> None:
    store = written(tmp_path / "shop" / "NL")
    with (store.folder / "train.numeric.bin").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(UserError, match=r"train\.numeric\.bin: got 49 bytes, the manifest says 48: prepare"):
        ScenarioStore.open(store.path)


def test_a_lost_file_is_reported(tmp_path: Path) -> None:
    store = written(tmp_path / "shop" / "NL")
    (store.folder / "train.users.bin").unlink()
    with pytest.raises(UserError, match=r"cannot read .*train\.users\.bin"):
        ScenarioStore.open(store.path)


def test_missing_store_says_how_to_prepare(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pfmsmtrec prepare shop --source DIR"):
        ScenarioStore.open(tmp_path / "shop" / "NL")


@pytest.mark.parametrize("verify", [False, True])
def test_a_version_that_is_replaced_while_it_is_opened_gives_way_to_the_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: bool
) -> None:
    path = written(tmp_path / "shop" / "NL").path
    real = read_manifest

    def replaced_meanwhile(folder: Path) -> Manifest:
        manifest = real(folder)
        monkeypatch.setattr(reader, "read_manifest", real)
        written(path, first=100)
        return manifest

    monkeypatch.setattr(reader, "read_manifest", replaced_meanwhile)
    assert ScenarioStore.open(path, verify=verify).splits["train"].numeric[0, 0] == 25


def test_made_up_rows_are_reported(tmp_path: Path) -> None:
    store = written(tmp_path / "shop" / "NL", {"negatives": {"task": "ctr", "per_positive": 4, "rows": 8}})
    assert made_up_rows(store) == "ctr: 4 sampled negatives per positive, 0 in every task"
    assert made_up_rows(written(tmp_path / "shop" / "US")) == ""


def test_rows_without_a_label_are_reported(tmp_path: Path) -> None:
    with writer(tmp_path / "shop" / "NL", unlabelled=["ctcvr"]) as each:
        for split, missing in zip(SPLITS, (3, 0, 1), strict=True):
            own = rows(0, 5)
            own["labels"] = own["labels"].astype(np.uint8)
            own["labels"][:missing, 1] = MISSING_LABEL
            each.append(split, **own)
        store = each.commit()
    assert unlabelled_rows(store) == "ctcvr: 4 rows without a label do not count (train 3, test 1)"
    assert [split.unlabelled for split in store.splits.values()] == [True, False, True]
    assert unlabelled_rows(written(tmp_path / "shop" / "US")) == ""
