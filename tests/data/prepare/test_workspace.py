"""The workspace: one process at a time, finished parts kept, and what a store was prepared from."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pfmsmtrec_flwr.data.prepare.spool import SpoolWriter
from pfmsmtrec_flwr.data.prepare.workspace import Workspace, prepared_before, remember
from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.writer import StoreWriter
from pfmsmtrec_flwr.errors import UserError


def put_part(workspace: Workspace, fingerprint: str, *, finished: bool = True) -> Path:
    folder = workspace.part(fingerprint) / "NL"
    if finished:
        with SpoolWriter(folder, {"one": ("int8", None)}) as writer:
            writer.finish()
    else:
        folder.mkdir(parents=True)
    return workspace.part(fingerprint)


def broken_off(workspace: Workspace) -> None:
    with pytest.raises(KeyboardInterrupt), workspace:
        put_part(workspace, "done")
        put_part(workspace, "open", finished=False)
        (workspace.path / "side-0").mkdir()
        raise KeyboardInterrupt


def test_nothing_stays_when_the_work_is_done(tmp_path: Path) -> None:
    with Workspace(tmp_path, "shop", ["NL", "ES"]) as workspace:
        assert workspace.path.parent == tmp_path / "shop" / ".prepare"
        put_part(workspace, "done")
    assert list(tmp_path.iterdir()) == []


def test_finished_parts_stay_when_it_breaks_off(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "shop", ["NL"])
    assert workspace.path == tmp_path / "shop" / ".prepare" / "NL"
    broken_off(workspace)
    assert sorted(child.name for child in workspace.path.iterdir()) == ["part-done"]
    with Workspace(tmp_path, "shop", ["NL"]) as again:
        assert again.parts() == [again.part("done")]
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_when_it_breaks_off_with_nothing_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Workspace(tmp_path, "shop", ["NL"]):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_other_parts_are_removed(tmp_path: Path) -> None:
    with Workspace(tmp_path, "shop", ["NL"]) as workspace:
        kept, _ = put_part(workspace, "one"), put_part(workspace, "two")
        workspace.keep_only(["one", "three"])
        assert workspace.parts() == [kept]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "shop", ["NL", "ES"])
    broken_off(workspace)
    lock = os.open(workspace.path.parent / "ES.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    message = rf"^another process is preparing ES in {tmp_path}/shop: wait for it to end$"
    with pytest.raises(UserError, match=message), workspace:
        pass
    assert workspace.part("done").is_dir()
    with pytest.raises(UserError, match=message), Workspace(tmp_path, "shop", ["ES"]):
        pass
    with Workspace(tmp_path, "shop", ["NL"]):  # another scenario
        pass
    os.close(lock)
    with workspace:
        assert workspace.parts() == [workspace.part("done")]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file")
    with pytest.raises(UserError, match=r"shop"), Workspace(tmp_path, "shop", ["NL"]):
        pass


def store(folder: Path, *, encoders: bool = True) -> ScenarioStore:
    arrays = {"categorical": np.ones((2, 1)), "numeric": np.zeros((2, 0)), "labels": np.array([[0], [1]])}
    keys: dict[str, Any] = {"fields": [Field("item", 3, True)], "numeric": [], "tasks": ["ctr"], "schema_hash": "x"}
    with StoreWriter(folder / "shop" / "NL", dataset="shop", scenario="NL", users=False, **keys) as writer:
        for split in ("train", "validation", "test"):
            writer.append(split, **arrays)
        if encoders:
            writer.attach(write_encoders)
        return writer.commit({})


def test_what_a_store_was_prepared_from(tmp_path: Path) -> None:
    assert prepared_before(tmp_path, "shop", "NL", "files") is None
    made = store(tmp_path)
    assert prepared_before(tmp_path, "shop", "NL", "files") is None
    remember(made, "files")
    found = prepared_before(tmp_path, "shop", "NL", "files")
    assert found is not None
    assert found.path == made.path
    assert prepared_before(tmp_path, "shop", "NL", "other files") is None
    assert prepared_before(tmp_path, "shop", "ES", "files") is None


def write_encoders(folder: Path) -> list[str]:
    (folder / "encoders.json").write_text("{}")
    return ["encoders.json"]


def test_a_store_without_encoders_is_prepared_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    remember(store(tmp_path, encoders=False), "files")
    assert prepared_before(tmp_path, "shop", "NL", "files") is None
    assert "NL: prepared by an earlier version, without encoders" in caplog.text


def test_a_store_that_changed_is_prepared_again(tmp_path: Path) -> None:
    made = store(tmp_path)
    remember(made, "files")
    manifest = made.folder / "manifest.json"
    before = manifest.read_text()
    manifest.write_text(json.dumps(json.loads(before) | {"schema_hash": "y"}))
    assert prepared_before(tmp_path, "shop", "NL", "files") is None
    manifest.write_text(before)
    (made.folder / "train.labels.bin").write_bytes(b"")
    assert prepared_before(tmp_path, "shop", "NL", "files") is None


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    remember(store(tmp_path), "files")
    (tmp_path / "shop" / ".prepare" / "NL.json").write_text("{")
    assert prepared_before(tmp_path, "shop", "NL", "files") is None


def test_a_lock_file_that_its_holder_removes_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    removed: list[Path] = []

    def flock(descriptor: int, how: int) -> None:
        if not removed:  # the holder ends between our opening and our locking
            removed.append(tmp_path / "shop" / ".prepare" / "NL.lock")
            removed[0].unlink()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with Workspace(tmp_path, "shop", ["NL"]):
        assert removed[0].exists()
        with pytest.raises(UserError, match="another process"), Workspace(tmp_path, "shop", ["NL"]):
            pass


def test_what_was_left_behind_long_ago_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "shop" / ".prepare" / "of-9-x"
    (left / "part-1").mkdir(parents=True)
    for young in (True, False):
        if not young:
            for path in (left, left / "part-1"):
                os.utime(path, (0, 0))
        with Workspace(tmp_path, "shop", ["NL"]):
            pass
        assert left.exists() == young
