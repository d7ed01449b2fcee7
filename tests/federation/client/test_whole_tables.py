"""Large tables lie on disk once, and come back to the bit from the rows that differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.aggregation.table_checksum import table_checksum
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client import table_copies, tensor_files
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.client.tensor_files import load_tensors
from pfmsmtrec_flwr.federation.client.whole_tables import WholeTables

ROWS = 16


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalState:
    monkeypatch.setattr(table_copies, "LARGE_ROWS", ROWS)
    return LocalState(tmp_path / "NL")


def files(kept: LocalState) -> set[str]:
    return {path.name.removesuffix(".safetensors") for path in kept.folder.iterdir()}


def table_of(**changed: float) -> Tensor:
    """Return a table of which some rows, named as in ``r3=1.0``, differ from zeros."""
    table = torch.zeros(ROWS, 2)
    for row, value in changed.items():
        table[int(row[1:])] = value
    return table


def memory_of(table: Tensor) -> ClientMemory:
    other = table.index_fill(0, torch.tensor([3]), 8.0)
    personal = ClientMemory(model={"t": other, "w": torch.ones(3)})
    copies = {"t": TableCopy.of(table.clone())}
    return ClientMemory(model={"w": torch.ones(ROWS)}, tables=copies, scopes={"own": personal})


def after(memory: ClientMemory, table: Tensor) -> ClientMemory:
    """Return a memory in which the rows of the scenario's copy have become those of a table."""
    copies = {"t": memory.tables["t"].with_rows(torch.arange(ROWS), table.clone())}
    return replace(memory_of(table), tables=copies)


def same(memory: ClientMemory, table: Tensor) -> bool:
    expected, found = tensors_of(memory_of(table)), tensors_of(memory)
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def tensors_of(memory: ClientMemory) -> dict[str, Tensor]:
    return memory.to_tensors() | {f"tables/{name}": copy.table() for name, copy in memory.tables.items()}


def test_a_table_is_written_whole_once_and_then_as_the_rows_that_differ(kept: LocalState) -> None:
    for exchange, table in enumerate((table_of(), table_of(r3=1.0), table_of(r3=2.0, r5=-0.0)), start=1):
        kept.save_evaluated(exchange, {"t": table, "b": torch.ones(2)}, selected=1)
        kept.save(exchange, memory_of(table) if exchange == 1 else after(kept.load(exchange - 1), table))
    assert files(kept) == {"state-2", "state-3", "evaluated-1", "evaluated-3", "table-1-t"}
    state = load_tensors(kept.folder / "state-3.safetensors")
    assert state["tables/t@rows"].tolist() == [3, 5]  # a negative zero is another value
    assert "tables/t" not in state
    assert same(kept.load(3), table_of(r3=2.0, r5=-0.0))
    assert same(kept.load(2), table_of(r3=1.0))
    measured = kept.load_evaluated(3)
    assert torch.equal(measured["t"], table_of(r3=2.0))
    assert measured.keys() == {"t", "b"}


def test_a_table_that_has_come_far_is_written_whole_again(kept: LocalState) -> None:
    kept.save(1, memory_of(table_of()))
    kept.save_evaluated(1, {"t": table_of(r1=4.0)}, selected=1)
    far = torch.full((ROWS, 2), 5.0)
    kept.save_evaluated(2, {"t": far}, selected=1)  # the memory has not come as far: it stays in the file
    kept.save(2, after(kept.load(1), far))
    assert files(kept) == {"state-1", "state-2", "evaluated-1", "evaluated-2", "table-1-t", "table-2-t"}
    kept.save_evaluated(3, {"t": far}, selected=3)
    kept.save(3, after(kept.load(2), far))
    assert files(kept) == {"state-2", "state-3", "evaluated-3", "table-2-t"}
    assert same(kept.load(3), far)
    assert torch.equal(kept.load_evaluated(3)["t"], far)


def test_a_second_model_that_is_far_has_a_whole_table_of_its_own(kept: LocalState) -> None:
    personal = ClientMemory(model={"t": table_of() + 5.0})
    memory = ClientMemory(tables={"t": TableCopy.of(table_of())}, scopes={"own": personal})
    kept.save(1, memory)
    kept.save(2, replace(kept.load(1), scopes=memory.scopes))
    kept.save(3, replace(kept.load(2), scopes=memory.scopes))
    assert files(kept) == {"state-2", "state-3", "table-1-t", "table-2-t"}
    found = kept.load(3)
    assert torch.equal(found.tables["t"].table(), table_of())
    assert torch.equal(found.scope("own").model["t"], table_of() + 5.0)


def test_what_was_loaded_can_change_without_the_files(kept: LocalState) -> None:
    kept.save(1, memory_of(table_of(r2=3.0)))
    kept.load(1).tables["t"].table().fill_(9.0)
    kept.load(1).scope("own").model["t"].fill_(9.0)
    assert same(kept.load(1), table_of(r2=3.0))


def test_a_process_that_is_killed_before_the_state_leaves_the_one_before(
    kept: LocalState, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.save(1, memory_of(table_of(r2=3.0)))
    far = torch.full((ROWS, 2), 5.0)
    save = vars(tensor_files)["save_file"]
    with monkeypatch.context() as patched:

        def killed(tensors: dict[str, Tensor], path: Path) -> None:
            if "state-" in path.name:
                raise RuntimeError("killed")
            save(tensors, path)

        patched.setattr(tensor_files, "save_file", killed)
        with pytest.raises(RuntimeError, match="killed"):
            kept.save(2, after(kept.load(1), far))
    assert files(kept) == {"state-1", "table-1-t", "table-2-t"}
    assert same(kept.load(1), table_of(r2=3.0))
    kept.save(2, after(kept.load(1), table_of(r2=4.0)))  # another outcome than that of the killed process
    assert same(kept.load(1), table_of(r2=3.0))
    assert same(kept.load(2), table_of(r2=4.0))


def test_a_whole_table_that_is_gone_is_said_in_one_line(kept: LocalState) -> None:
    kept.save(1, memory_of(table_of()))
    (kept.folder / "table-1-t.safetensors").unlink()
    with pytest.raises(UserError, match=r"table-1-t.safetensors cannot be read"):
        kept.load(1)


def test_the_final_model_is_whole_and_alone(kept: LocalState) -> None:
    kept.save(1, memory_of(table_of()))
    kept.save_evaluated(1, {"t": table_of(r1=1.0)}, selected=1)
    path = kept.save_model(kept.load_evaluated(1), lambda _: "{}")
    assert torch.equal(load_tensors(path)["t"], table_of(r1=1.0))
    assert files(kept) == {"model", "model.json"}


def test_tables_of_another_shape_and_small_ones_stay_in_the_file(kept: LocalState) -> None:
    tables = WholeTables(kept.folder)
    tables.shortened({"t": table_of()}, renew=True)
    others = {"t": torch.ones(ROWS, 3), "small": torch.ones(ROWS - 1, 2), "own/t": table_of().double()}
    assert tables.shortened(others, renew=False).keys() == others.keys()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 31), st.sampled_from([0.0, -0.0, 1.5, -2.0, 1e-40])), max_size=12),
        min_size=1,
        max_size=6,
    )
)
def test_any_changes_come_back_to_the_bit(kept: LocalState, rounds: list[list[tuple[int, float]]]) -> None:
    table, before, memory = table_of(), None, memory_of(table_of())
    for exchange, changes in enumerate(rounds, start=1):
        for place, value in changes:
            table.view(-1)[place] = value
        memory = after(memory, table)
        kept.save(exchange, memory)
        memory = kept.load(exchange)
        for number, expected in ((exchange, table), (exchange - 1, before)):
            if expected is not None:
                copy = kept.load(number).tables["t"]
                assert torch.equal(copy.table().view(torch.int32), expected.view(torch.int32))
                assert torch.equal(copy.checksum(), table_checksum(expected))
        before = table.clone()


def test_a_memory_that_an_earlier_version_left_is_read(kept: LocalState) -> None:
    kept.save(1, memory_of(table_of()))
    kept.save(2, after(kept.load(1), table_of(r3=1.0)))
    for name, key in (("state-2", "tables/t@surplus"), ("table-1-t", "checksum")):
        path = kept.folder / f"{name}.safetensors"
        tensors = {own: value.clone() for own, value in load_tensors(path).items()}
        del tensors[key]
        tensor_files.save_tensors(path, tensors)
    copy = kept.load(2).tables["t"]
    assert torch.equal(copy.table(), table_of(r3=1.0))
    assert torch.equal(copy.checksum(), table_checksum(table_of(r3=1.0)))
