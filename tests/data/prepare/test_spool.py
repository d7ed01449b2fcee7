"""Spools: what was appended is read again, whole or not at all."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.data.prepare import spool as spools
from pfmsmtrec_flwr.data.prepare.spool import Spool, SpoolWriter, is_spool
from pfmsmtrec_flwr.errors import UserError

LAYOUT: dict[str, tuple[str, int | None]] = {"one": ("uint64", None), "two": ("float64", 2), "none": ("int32", 0)}


def arrays(rows: int, first: int = 0) -> dict[str, Any]:
    numbers = np.arange(first, first + rows)
    return {
        "one": numbers.astype(np.uint64) + np.uint64(2**63 + 1),
        "two": np.stack([numbers / 3, -numbers], axis=1),
        "none": np.zeros((rows, 0), dtype=np.int32),
    }


def written(folder: Path, counts: list[int]) -> Spool:
    with SpoolWriter(folder / "rows", LAYOUT) as writer:
        for count in counts:
            writer.append(arrays(count, writer.rows))
        return writer.finish()


def same(got: dict[str, Any], expected: dict[str, Any]) -> None:
    assert got.keys() == expected.keys()
    for name, values in got.items():
        assert values.dtype == expected[name].dtype
        np.testing.assert_array_equal(values, expected[name])


@given(st.lists(st.integers(0, 9), max_size=5), st.integers(1, 12))
def test_round_trip(counts: list[int], block: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = written(Path(folder), counts)
        rows = sum(counts)
        assert made.rows == rows
        expected = arrays(rows)
        for spool in (made, Spool(made.path)):
            found = list(spool.blocks(block))
            assert [len(each["one"]) for each in found] == [min(block, rows - at) for at in range(0, rows, block)]
            for at, each in zip(range(0, rows, block), found, strict=True):
                same(each, {name: values[at : at + block] for name, values in expected.items()})
            same({name: spool.column(name) for name in LAYOUT}, expected)


@pytest.mark.parametrize("released", [0, 1 << 30])
def test_rows_in_any_order(tmp_path: Path, released: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "_RELEASED_BYTES", released)
    made = written(tmp_path, [5, 3])
    for rows in ([7, 0, 0, 3], [], [-1]):
        taken = {name: made.take(name, np.array(rows, dtype=np.int64)) for name in LAYOUT}
        same(taken, {name: values[rows] for name, values in arrays(8).items()})
    made.take("two", np.array([1]))[:] = 0  # a copy
    assert made.column("two")[1].tolist() == [1 / 3, -1.0]


def test_values_are_converted_to_the_layouts_types(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path / "rows", {"one": ("int8", None)}) as writer:
        writer.append({"one": np.array([1, 2], dtype=np.int64), "more": np.zeros(2)})
        assert writer.finish().column("one").tolist() == [1, 2]


def test_an_unfinished_one_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), SpoolWriter(tmp_path / "rows", LAYOUT) as writer:
        writer.append(arrays(3))
        assert not is_spool(tmp_path / "rows")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_finished_one_is_replaced_as_a_whole(tmp_path: Path) -> None:
    written(tmp_path, [5])
    assert is_spool(tmp_path / "rows")
    with SpoolWriter(tmp_path / "rows", LAYOUT) as writer:
        writer.append(arrays(2))
        assert Spool(tmp_path / "rows").rows == 5
        writer.finish()
    assert Spool(tmp_path / "rows").rows == 2
    assert [child.name for child in tmp_path.iterdir()] == ["rows"]


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    class Full:
        def write(self, _: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with SpoolWriter(tmp_path / "rows", LAYOUT) as writer:
        writer._files["one"] = Full()
        with pytest.raises(UserError, match=r"^disk full while writing .*rows: free some space"):
            writer.append(arrays(1))


def test_a_spool_that_lost_bytes_is_none(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path / "s", {"a": ("int32", None)}) as writer:
        writer.append({"a": np.arange(5)})
        writer.finish()
    assert is_spool(tmp_path / "s")
    with (tmp_path / "s" / "a").open("r+b") as file:
        file.truncate(12)
    assert not is_spool(tmp_path / "s")
    (tmp_path / "s" / "spool.json").write_text("{")
    assert not is_spool(tmp_path / "s")
