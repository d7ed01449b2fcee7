"""Side tables: what matches what, against pandas; values on disk, in the main table's order."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfmsmtrec_flwr.data.prepare.columns import Output, key_output
from pfmsmtrec_flwr.data.prepare.joins import JoinMatch, SideTable, columns_of
from pfmsmtrec_flwr.data.read import csv_headers, csv_pieces, tables
from pfmsmtrec_flwr.data.read.blocks import ColumnSelection
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import JoinSection, TableSection
from pfmsmtrec_flwr.errors import UserError

AGE = Output("age", "age", "float64", np.nan, lambda chunk: chunk.numbers("age"), number=True)
PLACE = Output("place", "place", "int32", -7, lambda chunk: chunk.numbers("place").astype(np.int32), number=True)


def side_table(folder: Path, files: Sequence[str], how: str = "left") -> SideTable:
    sources = []
    for place, text in enumerate(files):
        (folder / f"users{place}.csv").write_text(text)
        sources.append(SourceFile(f"users{place}.csv", folder / f"users{place}.csv"))
    join = JoinSection.model_validate({"files": ["users*.csv"], "key": "user", "key_there": "id", "how": how})
    return SideTable(join, sources, [AGE, PLACE], folder / "side", progress=False)


def hashes(keys: Sequence[Any]) -> np.ndarray:
    column = pa.chunked_array([pa.array([None if key is None else str(key) for key in keys], type=pa.string())])
    chunk = Chunk(
        SourceFile("x", Path("x")), TableSection(files=("x",)), lambda row: 1 + row, {"user": column}, len(keys)
    )
    return key_output("user").make(chunk)


KEYS = st.one_of(st.none(), st.integers(0, 6))


def text_of(keys: Sequence[Any], first: int = 0) -> str:
    lines = [f"{'' if key is None else key},{place / 4},{place}" for place, key in enumerate(keys, first)]
    return "\n".join(["id,age,place", *lines]) + "\n"


def merged(main: Sequence[Any], side: Sequence[Any], how: Literal["left", "inner"]) -> list[tuple[int, float]]:
    """Return row of the main table and place in the side table, as pandas joins; a missing key finds nothing."""
    left = pd.DataFrame({"row": range(len(main)), "key": pd.array(main, dtype="Int64")})
    right = pd.DataFrame({"place": range(len(side)), "key": pd.array(side, dtype="Int64")}).dropna(subset=["key"])
    found = left.merge(right, on="key", how=how).sort_values(["row", "place"])
    return list(zip(found.row.tolist(), found.place.fillna(-7).astype(int).tolist(), strict=True))


@settings(max_examples=25)  # each writes files
@given(st.lists(KEYS, max_size=12), st.lists(KEYS, min_size=1, max_size=12))
def test_inner_as_pandas_merges(main: list[Any], side: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = side_table(Path(folder), [text_of(side)], "inner")
        match = table.match(hashes(main))
        assert match.main is not None
        found = table.values(match)
        expected = merged(main, side, "inner")
        assert list(zip(match.main.tolist(), found["place"].tolist(), strict=True)) == expected
        assert found["age"].tolist() == [place / 4 for _, place in expected]
        assert table.matched == len({row for row, _ in expected})  # rows, each once


@settings(max_examples=25)  # each writes files
@given(st.lists(KEYS, max_size=12), st.lists(KEYS, min_size=1, max_size=12, unique=True), st.integers(1, 11))
def test_left_as_pandas_merges(main: list[Any], side: list[Any], cut: int) -> None:
    files = [part for part in (text_of(side[:cut]), text_of(side[cut:], cut)) if part.count("\n") > 1]
    with tempfile.TemporaryDirectory() as folder:
        table = side_table(Path(folder), files)
        match = table.match(hashes(main))
        assert match.main is None
        found = table.values(match)
        expected = merged(main, side, "left")
        assert list(enumerate(found["place"].tolist())) == expected
        ages = [np.nan if place == -7 else place / 4 for _, place in expected]
        np.testing.assert_array_equal(found["age"], ages)
        assert table.matched == sum(place != -7 for _, place in expected)


def test_several_missing_keys_are_not_repeated_ones(tmp_path: Path) -> None:
    table = side_table(tmp_path, [text_of([None, 3, None])])
    assert table.values(table.match(hashes([3, None, 4])))["place"].tolist() == [1, -7, -7]


@pytest.mark.parametrize("key", [" 5", "05", "5.0", "+5"])
def test_keys_are_compared_as_values_not_as_text(tmp_path: Path, key: str) -> None:
    table = side_table(tmp_path, [text_of([key, 6])])
    assert table.values(table.match(hashes([6, 5])))["place"].tolist() == [1, 0]


@pytest.mark.parametrize("how", ["left", "inner"])
def test_a_table_of_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", 512)
    monkeypatch.setattr(csv_headers, "_HEAD_BYTES", 64)
    parsed: list[int] = []
    real = tables.block_tasks

    def counted(*given_arguments: Any) -> Iterator[Any]:
        for task in real(*given_arguments):
            parsed.append(1)
            yield task

    monkeypatch.setattr(tables, "block_tasks", counted)
    keys = np.random.default_rng(0).permutation(3000)
    table = side_table(tmp_path, [text_of(keys.tolist())], how)
    assert len(parsed) > 20
    wanted = np.random.default_rng(1).integers(0, 3000, 500)
    found = table.values(table.match(hashes(wanted.tolist())))
    np.testing.assert_array_equal(keys[found["place"]], wanted)


def test_a_key_that_is_not_unique_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"users0\.csv: the key 'id' must be unique, got 'seven' more than once$"):
        side_table(tmp_path, [text_of([1, "seven"]), text_of([2, " seven "])])
    assert side_table(tmp_path, [text_of([1, 1])], "inner").match(hashes([1])).side.tolist() == [0, 1]


def test_an_empty_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"users0\.csv: the table is empty$"):
        side_table(tmp_path, ["id,age,place\n"])
    assert [child.name for child in tmp_path.iterdir()] == ["users0.csv"]


def test_keys_that_match_nothing(tmp_path: Path) -> None:
    table = side_table(tmp_path, [text_of([1, 2])])
    table.match(hashes([3, None]))
    message = r"users0\.csv: its column 'id' matches no row of the main table's 'user': are both of the same"
    assert re.search(message, str(table.unmatched()))
    table.match(hashes([2]))
    assert table.unmatched() is None


def test_rows_that_find_nothing_are_reported(tmp_path: Path) -> None:
    for how, what in (("left", "have missing values"), ("inner", "are left out")):
        (tmp_path / how).mkdir()
        table = side_table(tmp_path / how, [text_of([1, 2])], how=how)
        assert table.summary() == ""
        table.match(hashes([1, 3, None, 2]))
        assert table.summary() == f"2 of 4 rows find no 'id' in users0.csv and {what}"


def test_a_side_table_that_was_never_asked_is_no_error(tmp_path: Path) -> None:
    assert side_table(tmp_path, [text_of([1, 2])]).unmatched() is None


def test_values_of_rows_that_found_nothing(tmp_path: Path) -> None:
    table = side_table(tmp_path, [text_of([1])])
    found = table.values(JoinMatch(None, np.array([-1, 0, -1])))
    assert found["place"].tolist() == [-7, 0, -7]
    assert found["place"].dtype == np.int32


def test_columns_to_read() -> None:
    texts = [Output(name, name, "S1", 0, lambda _: np.empty(0)) for name in ("a", "b", "a")]
    assert columns_of([*texts, AGE, AGE], ["id", "b"]) == ColumnSelection(("id", "b", "a"), ("age",))
