from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.resume import array_files, checkpoints
from pfmsmtrec_flwr.federation.resume.checkpoints import Checkpoint, CheckpointFolder

ABOUT = {"method": "fedavg", "schema_hashes": {"NL": "5"}}


def kept(folder: CheckpointFolder, *numbers: int) -> None:
    for number in numbers:
        folder.write(Checkpoint(number, {"value": torch.tensor(float(number)), "best": (True, 0.5)}), ABOUT)


def newest(folder: CheckpointFolder) -> tuple[int, float]:
    found = folder.newest()
    assert found is not None
    return found.number, found.state["value"].item()


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "checkpoints" / "fedavg")


def test_the_last_three_are_kept_and_the_newest_counts(folder: CheckpointFolder) -> None:
    assert (folder.newest(), folder.next_number()) == (None, 0)
    kept(folder, 0, 1, 2, 10)
    assert sorted(child.name for child in folder.folder.iterdir()) == [
        "checkpoint-000001",
        "checkpoint-000002",
        "checkpoint-000010",
    ]
    assert (newest(folder), folder.next_number()) == ((10, 10.0), 11)
    manifest = json.loads((folder.folder / "checkpoint-000010" / "manifest.json").read_text())
    assert manifest.pop("sha256").keys() == {"state.json", "tensors.safetensors"}
    assert manifest == {"format": 2, "exchange": 10, "tables": {}, **ABOUT}
    assert folder.folder.stat().st_mode & 0o777 == 0o700
    files = (folder.folder / "checkpoint-000010").iterdir()
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_one_that_does_not_verify_is_passed_over(
    folder: CheckpointFolder, name: str, damage: str, logged: list[str]
) -> None:
    kept(folder, 1, 2, 3)
    path = folder.folder / "checkpoint-000003" / name
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-1] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:])
    assert newest(folder) == (2, 2.0)
    assert [line for line in logged if "checkpoint-000003 does not verify, and is passed over: " in line]
    kept(folder, 3)
    assert newest(folder) == (3, 3.0)


def test_one_of_another_format_is_passed_over(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(folder, 1)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_FORMAT", 1)
    with pytest.raises(UserError, match=r"no checkpoint in .*/fedavg verifies: start the run anew"):
        folder.newest()


def test_one_of_the_first_format_is_read(folder: CheckpointFolder) -> None:
    kept(folder, 1)
    path = folder.folder / "checkpoint-000001" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["tables"]
    path.write_text(json.dumps(manifest | {"format": 1}))
    assert newest(folder) == (1, 1.0)


@pytest.mark.parametrize(
    ("step", "error", "said"),
    [
        (
            "write_synced",
            OSError(errno.ENOSPC, "No space left on device"),
            "the disk is full: free some space, then resume the run",
        ),
        (
            "save_arrays",
            SafetensorError("I/O error: No space left on device (os error 28)"),
            "the disk is full: free some space, then resume the run",
        ),
        ("save_arrays", SafetensorError("I/O error"), "I/O error: make it writable, then resume the run"),
        (
            "write_synced",
            OSError(errno.EROFS, "Read-only file system"),
            "Read-only file system: make it writable, then resume the run",
        ),
    ],
)
def test_a_disk_that_takes_no_more_is_said_in_one_line(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception, said: str
) -> None:
    kept(folder, 1)

    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(checkpoints if step == "write_synced" else array_files, step, refuse)
    with pytest.raises(UserError, match=rf"^cannot write .*/checkpoint-000002, {said}$"):
        kept(folder, 2)
    assert newest(folder) == (1, 1.0)
    monkeypatch.undo()
    kept(folder, 2)
    assert newest(folder) == (2, 2.0)
