"""Encoders beside a model: links to the store's files, copies where links do not work, or the reason why not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from written_stores import rows, writer, written

from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.scoring.kept_encoders import keep_encoders

NAMES = ["encoders.json", "schema.yaml"]


def write_encoders(folder: Path) -> list[str]:
    for name in NAMES:
        (folder / name).write_text(f"content of {name}")
    return NAMES


@pytest.fixture
def store(tmp_path: Path) -> ScenarioStore:
    with writer(tmp_path / "NL") as each:
        for split in SPLITS:
            each.append(split, **rows(0, 5))
        each.attach(write_encoders)
        return each.commit()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


def test_encoders_take_no_space_twice_and_outlive_the_store(store: ScenarioStore, folder: Path) -> None:
    for _ in range(2):  # a second run in the same folder
        assert keep_encoders(store, folder) == ""
    assert sorted(file.name for file in folder.iterdir()) == NAMES
    assert all((folder / name).samefile(store.folder / name) for name in NAMES)
    shutil.rmtree(store.path)
    assert (folder / "encoders.json").read_text() == "content of encoders.json"


def test_another_disk_gets_copies(store: ScenarioStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert keep_encoders(store, folder) == ""
    assert (folder / "schema.yaml").read_text() == "content of schema.yaml"
    assert not (folder / "schema.yaml").samefile(store.folder / "schema.yaml")


def test_encoders_of_a_run_before_are_removed(store: ScenarioStore, folder: Path, tmp_path: Path) -> None:
    keep_encoders(store, folder)
    without = written(tmp_path / "ES")
    assert "prepared by an earlier version, which kept no encoders: prepare the data anew" in keep_encoders(
        without, folder
    )
    assert list(folder.iterdir()) == []
    assert (store.folder / "schema.yaml").read_text() == "content of schema.yaml"


def test_made_up_rows_and_a_store_that_is_gone(store: ScenarioStore, folder: Path, tmp_path: Path) -> None:
    assert "made-up data has no raw rows" in keep_encoders(written(tmp_path / "ES", {"synthetic": {}}), folder)
    shutil.rmtree(store.path)
    assert keep_encoders(store, folder) == "its data was prepared anew while it trained: train again"
