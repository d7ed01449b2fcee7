"""Files and form of a user's own table: key folders, hidden files, encodings, delimiters, line ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pfmsmtrec_flwr.data.draft.draft import draft
from pfmsmtrec_flwr.data.draft.profile import look_at
from pfmsmtrec_flwr.data.draft.table_files import found_files, found_form
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import TableSection


def shop(rows: int = 600) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "country": draw.choice(["NL", "DE"], rows),
            "day": np.repeat([f"2024-01-{day:02}" for day in range(1, 7)], rows // 6),
            "item": draw.choice(["thé", "crème", "gâteau", "café"], rows),
            "clicked": draw.integers(0, 2, rows),
        }
    )


def form_of(folder: Path, data: bytes) -> TableSection:
    (folder / "log.csv").write_bytes(data)
    return found_form(SourceFile("log.csv", folder / "log.csv"), "log.csv")


def test_key_folders_from_the_draft_to_the_store(tmp_path: Path) -> None:
    shop().to_parquet(tmp_path / "log", partition_cols=["country", "day"])
    for beside in ("_SUCCESS", ".DS_Store", "country=NL/._x.csv", "country=NL/day=2024-01-01/.part.parquet.crc"):
        (tmp_path / "log" / beside).write_bytes(b"no table")
    found = draft(tmp_path / "log")
    assert found.schema.table.files == ("country=*/day=*/*.parquet",)
    assert found.schema.scenario.values == {"DE": "DE", "NL": "NL"}
    assert found.schema.split.by_date is not None and found.schema.split.by_date.column == "day"
    stores = prepare(found.schema, tmp_path / "log", tmp_path / "data", progress=False)
    assert [store.scenario for store in stores] == ["DE", "NL"]
    assert sum(len(split) for store in stores for split in store.splits.values()) == 600
    plain = tmp_path / "plain"
    plain.mkdir()
    shop().to_csv(plain / "log.csv", index=False)
    schema = found.schema.model_copy(update={"table": TableSection(files=("log.csv",))})
    for store, other in zip(stores, prepare(schema, plain, tmp_path / "other", progress=False), strict=True):
        assert store.positives("test") == other.positives("test")


def test_hidden_files_are_no_tables(tmp_path: Path) -> None:
    shop().to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "._log.parquet").write_bytes(b"")
    assert found_files(tmp_path) == (tmp_path, "*.csv")


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_packed_files(tmp_path: Path, ending: str) -> None:
    shop().to_csv(tmp_path / f"log.csv{ending}", index=False)
    assert found_files(tmp_path / f"log.csv{ending}") == (tmp_path, "log.csv")
    assert look_at(tmp_path).rows == 600


@pytest.mark.parametrize(("encoding", "found"), [("utf-8", "utf-8"), ("utf-16", "utf-16"), ("latin-1", "cp1252")])
def test_the_encoding_is_found_and_written(tmp_path: Path, encoding: str, found: str) -> None:
    shop().to_csv(tmp_path / "log.csv", index=False, encoding=encoding)
    drafted = draft(tmp_path / "log.csv")
    assert drafted.schema.table.encoding == found
    assert ("are letters such as é right?" in drafted.text) == (found != "utf-8")
    assert drafted.schema.fields["item"].values == ("café", "crème", "gâteau", "thé")


def test_a_letter_that_the_first_bytes_cut_in_two(tmp_path: Path) -> None:
    text = "a,b\n" + "x" * ((1 << 20) - 5) + "\u00e9,1\n"
    assert len(text.encode()[: 1 << 20].rstrip(b"\xc3")) == (1 << 20) - 1
    assert form_of(tmp_path, text.encode()).encoding == "utf-8"


@pytest.mark.parametrize("data", [b"sep=;\na;b\n1;2\n", b"a;b\r1;2\r", b"\n\na;b\n1;2\n", b'"a,c";b\n1;2\n'])
def test_the_delimiter_is_found(tmp_path: Path, data: bytes) -> None:
    assert form_of(tmp_path, data).delimiter == ";"


def test_a_line_of_excel_with_another_delimiter_is_followed(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b"sep=^\n" + shop().to_csv(index=False, sep="^").encode())
    assert [column.name for column in look_at(tmp_path / "log.csv").columns] == ["country", "day", "item", "clicked"]
