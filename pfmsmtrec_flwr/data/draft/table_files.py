"""Files of a user's own table, and the form of their text."""

from __future__ import annotations

import codecs
import glob
from pathlib import Path

from pfmsmtrec_flwr.data.read.csv_tables import csv_names
from pfmsmtrec_flwr.data.read.sources import SourceFile, is_key_folder
from pfmsmtrec_flwr.data.read.streams import UTF_8, unpacked_name
from pfmsmtrec_flwr.data.read.tables import PARQUET_ENDINGS
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

_DELIMITERS = ",;\t|"
_ENDINGS = {".csv", ".tsv", ".txt", *PARQUET_ENDINGS}
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LOOKED_AT = 1 << 20
_WINDOWS = "cp1252"


def found_files(table: Path) -> tuple[Path, str]:
    """Return the source folder of a table, and the pattern of its files.

    Parameters
    ----------
    table
        File, or folder with files of one kind, in itself or below folders such as ``country=NL``.

    Raises
    ------
    UserError
        There is no table, or there are several kinds.
    """
    if table.is_dir():
        folders, files = _in_folder(table)
        kinds = sorted({_ending(file) for file in files})
        if len(kinds) != 1:
            raise UserError(
                f"{table} holds {'several kinds of tables' if kinds else 'no table'} ({', '.join(kinds) or 'no file'} "
                "of .csv, .tsv, .txt, .parquet, .pq), expected files of one kind: name one file, or move the others"
            )
        return table, f"{folders}*{kinds[0]}"
    if not table.is_file():
        raise UserError(f"no table {table}: name a CSV or Parquet file, or a folder of such files")
    if _ending(table) not in _ENDINGS:
        raise UserError(f"{table}: got a file '{table.suffix}', expected .csv, .tsv, .txt or .parquet: convert it")
    return table.parent, escaped(unpacked_name(table.name))


def table_name(table: Path) -> str:
    """Return the name of a table, without the endings of its file."""
    return table.name if table.is_dir() else Path(unpacked_name(table.name)).stem


def found_form(source: SourceFile, pattern: str) -> TableSection:
    """Return the form of a file: its encoding, and the delimiter that splits its header into the most names.

    Raises
    ------
    UserError
        No delimiter splits the header into names that differ.
    """
    if source.ending in PARQUET_ENDINGS:
        return TableSection(files=(pattern,))
    encoding = _encoding(source)
    plain = TableSection(files=(pattern,), encoding=encoding)  # a line sep= may name the delimiter
    best, most = plain, 1
    refused: UserError | None = None
    for form in (*(TableSection(files=(pattern,), encoding=encoding, delimiter=each) for each in _DELIMITERS), plain):
        try:
            if (count := len(csv_names(source, form))) > most:
                best, most = form, count
        except UserError as error:
            refused = refused or error
    if refused is not None and most == 1:
        raise refused
    return best


def escaped(name: str) -> str:
    """Return the pattern that a name alone matches; a brace could be read as a mark such as {scenario}."""
    return glob.escape(name).replace("{", "[{]")


def _in_folder(table: Path) -> tuple[str, list[Path]]:
    """Return the pattern of the folders with the tables, and the tables of the first one."""
    pattern, folder = "", table
    while not (files := _tables(folder)):
        keys = [child for child in sorted(folder.iterdir()) if child.is_dir() and is_key_folder(child.name)]
        if not keys:
            break
        folder = keys[0]
        pattern += f"{escaped(folder.name.partition('=')[0])}=*/"
    return pattern, files


def _tables(folder: Path) -> list[Path]:
    files = [child for child in folder.iterdir() if child.is_file() and not child.name.startswith(".")]
    return [file for file in files if _ending(file) in _ENDINGS]


def _ending(path: Path) -> str:
    return Path(unpacked_name(path.name)).suffix.lower()


def _encoding(source: SourceFile) -> str:
    """Return the encoding of a file: that of Windows where its beginning is no text in UTF-8."""
    with source.open() as (stream, _):
        start = stream.read(_LOOKED_AT)
    if start.startswith(_UTF16_MARKS):
        return "utf-16"
    try:
        codecs.getincrementaldecoder(UTF_8)().decode(start)
    except UnicodeDecodeError:
        return _WINDOWS
    return UTF_8
