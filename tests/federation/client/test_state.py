from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client import tensor_files
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.state import LocalState


def one(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor([value]), "count": torch.tensor(int(value))}


def memory_of(value: float) -> ClientMemory:
    return ClientMemory(model=one(value))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def kept(tmp_path: Path) -> LocalState:
    return LocalState(tmp_path / "pf-msmtrec" / "NL")


def test_the_last_two_exchanges_are_kept(kept: LocalState) -> None:
    assert kept.load(0).is_empty
    for exchange in (1, 2, 3, 10):
        kept.save(exchange, memory_of(exchange))
    assert files(kept.folder) == ["state-10.safetensors", "state-3.safetensors"]
    assert kept.load(10).model["w"].tolist() == [10]
    assert kept.load(9).model["w"].tolist() == [3]  # a missed exchange left all as it was
    assert kept.load(3).model["count"].item() == 3


def test_a_repeated_exchange_starts_from_the_same_state(kept: LocalState) -> None:
    for exchange in (1, 2, 3):
        kept.save(exchange, memory_of(exchange))
    kept.save(3, memory_of(33))
    assert kept.load(2).model["w"].tolist() == [2]
    assert kept.load(3).model["w"].tolist() == [33]


def test_later_exchanges_of_a_broken_off_run_go(kept: LocalState) -> None:
    for exchange in (7, 8):
        kept.save(exchange, memory_of(exchange))
    assert kept.load(0).is_empty
    kept.save(1, memory_of(1))
    assert files(kept.folder) == ["state-1.safetensors"]
    kept.save(2, memory_of(2))
    assert kept.load(1).model["w"].tolist() == [1]


def test_memory_on_which_the_server_counts_is_there_or_missed(kept: LocalState) -> None:
    for exchange in (1, 2, 3):
        kept.save(exchange, memory_of(exchange))
    assert kept.load(2, 2).model["w"].tolist() == [2]  # the server repeats exchange 3
    assert kept.load(4, 2).model["w"].tolist() == [3]  # exchange 3 came too late to count
    with pytest.raises(UserError, match=r"^scenario NL cannot go back to exchange 1, .* it keeps the memory of exch"):
        kept.load(1, 1)
    assert files(kept.folder) == ["state-2.safetensors", "state-3.safetensors"]
    with pytest.raises(UserError, match=r"^the memory of scenario NL after exchange 5 is gone, and the server counts"):
        kept.load(5, 5)


def test_what_a_killed_process_was_writing_goes(kept: LocalState) -> None:
    kept.save(1, memory_of(1))
    for name in (".state-2.safetensors-77", ".model.json-77"):
        (kept.folder / name).write_bytes(b"half a fi")
    kept.save(2, memory_of(2))
    assert files(kept.folder) == ["state-1.safetensors", "state-2.safetensors"]


def test_a_failure_while_writing_leaves_the_old_state(kept: LocalState, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.save(1, memory_of(1))

    def half(_: Any, path: Path) -> None:
        Path(path).write_bytes(b"half a fi")
        raise RuntimeError("killed")

    monkeypatch.setattr(tensor_files, "save_file", half)
    with pytest.raises(RuntimeError, match="killed"):
        kept.save(1, memory_of(5))
    assert files(kept.folder) == ["state-1.safetensors"]
    assert kept.load(1).model["w"].tolist() == [1]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("IoError: No space left on device")],
)
def test_a_full_disk_is_said_in_one_line(kept: LocalState, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(tensor_files, "save_file", full)
    with pytest.raises(UserError) as caught:
        kept.save(1, memory_of(1))
    assert str(caught.value) == (
        f"cannot write {kept.folder / 'state-1.safetensors'}: the disk is full: free some space"
    )
    assert files(kept.folder) == []


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*NL/state-1.safetensors: .*Not a directory"):
        LocalState(tmp_path / "file" / "NL").save(1, memory_of(1))


def test_a_damaged_file_is_said_in_one_line(kept: LocalState) -> None:
    kept.save(1, memory_of(1))
    (kept.folder / "state-1.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"state-1.safetensors cannot be read .*: delete its folder and start"):
        kept.load(1)


def test_of_measured_models_the_last_and_the_selected_are_kept(kept: LocalState) -> None:
    for number, selected in ((1, 0), (2, 1), (3, 1), (4, 1)):
        kept.save_evaluated(number, one(number), selected)
    assert files(kept.folder) == ["evaluated-1.safetensors", "evaluated-4.safetensors"]
    assert kept.load_evaluated(1)["w"].tolist() == [1]
    with pytest.raises(UserError, match=r"the model of round 3 is not in .*: was the folder emptied meanwhile"):
        kept.load_evaluated(3)


def test_the_final_model_stays_alone(kept: LocalState) -> None:
    kept.save(1, memory_of(1))
    kept.save_evaluated(1, one(1), 0)
    path = kept.save_model(one(4), lambda folder: json.dumps({"seed": 3, "folder": folder.name}))
    assert files(kept.folder) == ["model.json", "model.safetensors"]
    assert path == kept.folder / "model.safetensors"
    assert json.loads(path.with_suffix(".json").read_text()) == {"seed": 3, "folder": kept.folder.name}
