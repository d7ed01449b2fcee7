"""Keys in the names of folders are columns, in CSV and Parquet files, packed or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pfmsmtrec_flwr.data.read.blocks import ColumnSelection
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.folder_keys import folder_keys
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.read.tables import column_names, read_blocks
from pfmsmtrec_flwr.data.schema.column_form import ColumnForm
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

TABLE = TableSection(files=("x",))


@pytest.fixture(params=["csv", "parquet"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> SourceFile:
    folder = tmp_path / "country=NL" / "day=2024-01-31"
    folder.mkdir(parents=True)
    path = folder / f"part-0.{request.param}"
    if request.param == "csv":
        path.write_text("a,b\nx,1\ny,2\n")
    else:
        pq.write_table(pa.table({"a": ["x", "y"], "b": [1, 2]}), path)
    return SourceFile(path.relative_to(tmp_path).as_posix(), path)


def rows(source: SourceFile, columns: ColumnSelection, table: TableSection = TABLE) -> list[dict[str, Any]]:
    return [row for block in read_blocks(source, table, columns, lambda _: None) for row in block.rows.to_pylist()]


def test_keys_are_columns(source: SourceFile) -> None:
    assert column_names(source, TABLE) == ["a", "b", "country", "day"]
    both = rows(source, ColumnSelection(("country", "a"), ("b",)))
    assert both == [{"country": "NL", "a": "x", "b": 1.0}, {"country": "NL", "a": "y", "b": 2.0}]
    assert rows(source, ColumnSelection(("day",))) == [{"day": "2024-01-31"}] * 2  # no column of the file itself


def test_keys_that_are_numbers_or_written_in_a_form(tmp_path: Path) -> None:
    folder = tmp_path / "age=1.234,5"
    folder.mkdir()
    (folder / "log.csv").write_text("a\nx\n")
    source = SourceFile("age=1.234,5/log.csv", folder / "log.csv")
    (block,) = read_blocks(source, TABLE, ColumnSelection((), ("age",)), lambda _: None)
    with pytest.raises(UserError, match=r"log\.csv, line 2, column 'age': got '1\.234,5', expected a number: is it"):
        Chunk.of(source, TABLE, block).numbers("age")
    table = TableSection(files=("x",), columns={"age": ColumnForm(decimal=",", thousands=".")})
    (block,) = read_blocks(source, table, ColumnSelection((), ("age",)), lambda _: None)
    assert Chunk.of(source, table, block).numbers("age").tolist() == [1234.5]


def test_a_column_of_the_file_goes_before_the_key(tmp_path: Path) -> None:
    folder = tmp_path / "a=other"
    folder.mkdir()
    (folder / "log.csv").write_text("a,b\nx,1\n")
    source = SourceFile("log.csv", folder / "log.csv")
    assert column_names(source, TABLE) == ["a", "b"]
    assert rows(source, ColumnSelection(("a",))) == [{"a": "x"}]


def test_values_of_keys() -> None:
    def keys(path: str, member: str = "") -> dict[str, str | None]:
        return folder_keys(SourceFile("x", Path(path), member))

    assert keys("k=a%20b%2Fc/x.csv") == {"k": "a b/c"}
    assert keys("k=__HIVE_DEFAULT_PARTITION__/j=/x.csv") == {"k": None, "j": None}
    assert keys("k=a=b/=c/d/x=y.csv") == {"k": "a=b"}
    assert keys("k=1/all.zip", "j=2/x.csv") == {"k": "1", "j": "2"}
    assert keys("log.csv") == {}


def test_a_missing_key_is_a_missing_value(tmp_path: Path) -> None:
    folder = tmp_path / "country=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir()
    (folder / "log.csv").write_text("a\nx\n")
    source = SourceFile("log.csv", folder / "log.csv")
    (block,) = read_blocks(source, TABLE, ColumnSelection(("country",), ("country",)), lambda _: None)
    assert Chunk.of(source, TABLE, block).coded("country").index.tolist() == [-1]


def test_the_key_is_part_of_what_identifies_a_file(tmp_path: Path) -> None:
    (tmp_path / "country=NL").mkdir()
    (tmp_path / "country=NL" / "log.csv").write_text("a\nx\n")
    source = SourceFile("log.csv", tmp_path / "country=NL" / "log.csv")
    before = source.identity()
    moved = (tmp_path / "country=NL").rename(tmp_path / "country=DE")
    assert SourceFile("log.csv", moved / "log.csv").identity() != before
