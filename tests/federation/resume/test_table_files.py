"""Large tables lie beside the checkpoints once, and come back to the bit from the rows that differ."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from torch import Tensor

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.resume import array_files, table_files
from pfmsmtrec_flwr.federation.resume.checkpoints import Checkpoint, CheckpointFolder

ROWS = 16


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckpointFolder:
    monkeypatch.setattr(table_files, "MANY_ROWS", ROWS)
    return CheckpointFolder(tmp_path / "fedper")


def table_of(**changed: float) -> Tensor:
    """Return a table of which some rows, named as in ``r3=1.0``, differ from zeros."""
    table = torch.zeros(ROWS, 2)
    for row, value in changed.items():
        table[int(row[1:])] = value
    return table


def state_of(table: Tensor, **more: Any) -> dict[str, Any]:
    return {"method": {"common": {"t": table, "w": torch.ones(ROWS)}}, **more}


def keep(folder: CheckpointFolder, number: int, state: dict[str, Any]) -> None:
    folder.write(Checkpoint(number, state), {"method": "fedper"})


def found(folder: CheckpointFolder) -> Tensor:
    checkpoint = CheckpointFolder(folder.folder).newest()  # as another process reads it
    assert checkpoint is not None
    table: Tensor = checkpoint.state["method"]["common"]["t"]
    return table


def names(folder: CheckpointFolder) -> set[str]:
    return {path.name for path in folder.folder.iterdir()}


def test_a_table_is_written_whole_once_and_then_as_the_rows_that_differ(folder: CheckpointFolder) -> None:
    for number, table in enumerate((table_of(), table_of(r3=1.0), table_of(r3=2.0, r5=-0.0))):
        keep(folder, number, state_of(table))
        assert torch.equal(found(folder).view(torch.int32), table.view(torch.int32))
    checkpoints = {f"checkpoint-{number:06d}" for number in range(3)}
    assert names(folder) == checkpoints | {"table-000001.safetensors"}
    arrays = load_file(folder.folder / "checkpoint-000002" / "tensors.safetensors")
    (rows,) = (array for name, array in arrays.items() if name.endswith("/t@rows"))
    assert rows.tolist() == [3, 5]  # a negative zero is another value
    assert (folder.folder / "table-000001.safetensors").stat().st_mode & 0o777 == 0o600


def test_a_table_that_has_come_far_is_written_whole_again(folder: CheckpointFolder) -> None:
    far = torch.full((ROWS, 2), 5.0)
    for number, table in enumerate((table_of(), far, far + 0.0, far + 0.0)):
        keep(folder, number, state_of(table))
    assert names(folder) == {f"checkpoint-{number:06d}" for number in (1, 2, 3)} | {"table-000002.safetensors"}
    assert torch.equal(found(folder), far)


def test_the_table_of_a_selected_round_refers_to_the_same_file(folder: CheckpointFolder) -> None:
    selected = table_of(r1=4.0)
    keep(folder, 0, state_of(table_of(), consensus={"of_round": {1: {"t": selected}}}))
    far = torch.full((ROWS, 2), 5.0)
    keep(folder, 1, state_of(table_of(r2=1.0), consensus={"of_round": {1: {"t": selected}, 2: {"t": far}}}))
    assert names(folder) == {"checkpoint-000000", "checkpoint-000001", "table-000001.safetensors"}
    checkpoint = folder.newest()
    assert checkpoint is not None
    consensus = checkpoint.state["consensus"]["of_round"]
    assert torch.equal(consensus[1]["t"], selected)
    assert torch.equal(consensus[2]["t"], far)  # lies in the checkpoint whole


def test_a_member_of_a_list_is_no_table(folder: CheckpointFolder) -> None:
    """Rows that scenarios have of their own are as many as differ, other ones each time."""
    own = {"NL": (torch.arange(ROWS), torch.ones(ROWS, 2))}
    keep(folder, 0, {"tables": {"t": {"base": table_of(), "own": own}}})
    keep(folder, 1, {"tables": {"t": {"base": table_of(r1=1.0), "own": own}}})
    assert names(folder) == {"checkpoint-000000", "checkpoint-000001", "table-000001.safetensors"}
    checkpoint = folder.newest()
    assert checkpoint is not None
    assert torch.equal(checkpoint.state["tables"]["t"]["own"]["NL"][1], own["NL"][1])
    assert torch.equal(checkpoint.state["tables"]["t"]["base"], table_of(r1=1.0))


def test_a_process_that_resumes_writes_the_table_anew(folder: CheckpointFolder) -> None:
    keep(folder, 0, state_of(table_of()))
    again = CheckpointFolder(folder.folder)
    keep(again, 1, state_of(table_of(r1=1.0)))
    assert {"table-000001.safetensors", "table-000002.safetensors"} < names(folder)
    keep(again, 2, state_of(table_of(r1=2.0)))
    keep(again, 3, state_of(table_of(r1=3.0)))
    assert "table-000001.safetensors" not in names(folder)
    assert torch.equal(found(folder), table_of(r1=3.0))


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_checkpoint_whose_table_is_damaged_is_passed_over(
    folder: CheckpointFolder, damage: str, logged: list[str]
) -> None:
    far = torch.full((ROWS, 2), 5.0)
    keep(folder, 0, state_of(table_of()))
    keep(folder, 1, state_of(far))
    path = folder.folder / "table-000002.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    assert torch.equal(found(folder), table_of())
    assert [line for line in logged if "checkpoint-000001 does not verify, and is passed over: " in line]


def test_a_whole_table_that_the_disk_does_not_take_leaves_what_was_there(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(folder, 0, state_of(table_of()))
    far = torch.full((ROWS, 2), 5.0)
    with monkeypatch.context() as patched:

        def refuse(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr(array_files, "sync_file", refuse)
        with pytest.raises(UserError, match=r"^cannot write .*/checkpoint-000001, the disk is full: free some space"):
            keep(folder, 1, state_of(far))
    assert torch.equal(found(folder), table_of())
    keep(folder, 1, state_of(far))
    assert torch.equal(found(folder), far)
    keep(folder, 2, state_of(far + 0.0))
    assert not [name for name in names(folder) if name.startswith(".")]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 31), st.sampled_from([0.0, -0.0, 1.5, -2.0, 1e-40])), max_size=12),
        min_size=1,
        max_size=6,
    )
)
def test_any_changes_come_back_to_the_bit(folder: CheckpointFolder, rounds: list[list[tuple[int, float]]]) -> None:
    folder.clear()
    writer, table = CheckpointFolder(folder.folder), table_of()
    for number, changes in enumerate(rounds):
        for place, value in changes:
            table.view(-1)[place] = value
        keep(writer, number, state_of(table))
        assert torch.equal(found(folder).view(torch.int32), table.view(torch.int32))
