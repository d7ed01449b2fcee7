"""Profile of a user's own table: its form, and statistics of each column over a sample of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pfmsmtrec_flwr.data.draft.column_forms import guess_form, words_among
from pfmsmtrec_flwr.data.draft.row_numbers import is_row_number
from pfmsmtrec_flwr.data.draft.table_files import found_files, found_form, table_name
from pfmsmtrec_flwr.data.encode.encoders import Integers, Texts, coded, distinct_values, of_texts
from pfmsmtrec_flwr.data.encode.written_numbers import plain_numbers, rounded_ids
from pfmsmtrec_flwr.data.read.blocks import ColumnSelection, ignore
from pfmsmtrec_flwr.data.read.sources import SourceFile, SourceFolder
from pfmsmtrec_flwr.data.read.tables import PARQUET_ENDINGS, block_tasks, column_names
from pfmsmtrec_flwr.data.schema.column_form import PLAIN, ColumnForm
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

ROWS = 100_000
SEPARATOR = "|"
"""Sign between several values in one text, such as genres."""

_FILES = 20
_LONGEST_NAME = 200
_NUMBER = r"^[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|inf)$"
_INTEGER = r"^-?(?:\d+|\d(?:\.\d+)?e\+?[1-9]\d)$"  # ids that were rounded too
_RUN = r"\{\d+\.\.\d+\}"  # a run of names in a schema
_YES_NO = ({"0", "1"}, {"false", "true"}, {"n", "y"}, {"no", "yes"}, {"f", "t"})


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column of the sampled rows."""

    name: str
    rows: int
    values: Texts
    """Canonical texts of the distinct values, the most frequent first."""
    counts: Integers
    """Number of rows of each value."""
    numbers: npt.NDArray[np.float64] | None
    """Values as numbers; None if a value is not a number."""
    integers: bool
    """True if all values are whole numbers."""
    form: ColumnForm = PLAIN
    """How the values are written in the file."""
    words: tuple[str, ...] = ()
    """Words in place of a number, which count as missing."""
    rounded: int = 0
    """Number of rows whose number was rounded when the file was written, if it is an id."""

    @classmethod
    def of(cls, name: str, rows: int, counts: pd.Series[int]) -> ColumnProfile:
        """Make a profile from the counts of the distinct values."""
        words = words_among(counts.index)
        numbers_only = counts.drop(words)
        if words and len(numbers_only) and all_match(numbers_only.index.to_numpy(dtype=object), _NUMBER):
            counts = numbers_only
        else:
            words = []
        counts = counts.sort_values(ascending=False, kind="stable")
        values = counts.index.to_numpy(dtype=object)
        whole = bool(len(values)) and all_match(values, _INTEGER)
        numeric = bool(len(values)) and all_match(values, _NUMBER)
        numbers = values.astype(np.float64) if numeric else None
        return cls(name, rows, values, np.asarray(counts, dtype=np.int64), numbers, whole, words=tuple(words))

    @classmethod
    def of_parts(cls, name: str, rows: int, parts: Sequence[pa.ChunkedArray], delimiter: str) -> ColumnProfile:
        """Make a profile of the blocks of a column."""
        blocks = [distinct_values(part) for part in parts]
        texts = [distinct for distinct, _ in blocks if pa.types.is_string(distinct.type)]
        trimmed = pc.utf8_trim_whitespace(pa.chunked_array(texts, type=pa.string())).unique().drop_null()
        form = guess_form(trimmed.to_numpy(zero_copy_only=False), delimiter) if len(texts) == len(blocks) else PLAIN
        counts = [_counts(distinct, index, form) for distinct, index in blocks]
        found = cls.of(name, rows, pd.concat(counts).groupby(level=0, sort=False).sum())
        words = found.words
        if form.is_number:
            words = tuple(words_among(trimmed.to_pylist()))
        return replace(found, form=form, words=words, rounded=sum(rounded_ids(*block) for block in blocks))

    def parts(self) -> tuple[ColumnProfile, int] | None:
        """Return the profile of the parts between `SEPARATOR`, and their largest number in a value.

        None if no text has it, or there are not fewer parts than values, as in sentences.
        """
        if not self.text or not any(SEPARATOR in value for value in self.values):
            return None
        split = [value.split(SEPARATOR) for value in self.values]
        lengths = [len(parts) for parts in split]
        texts = coded(pa.array([part for parts in split for part in parts]))
        known = texts.index >= 0
        rows = pd.Series(np.repeat(self.counts, lengths)[known], index=texts.values[texts.index[known]])
        counts = rows.groupby(level=0, sort=False).sum()
        return (self.of(self.name, int(counts.sum()), counts), max(lengths)) if len(counts) < self.distinct else None

    @property
    def distinct(self) -> int:
        """Number of distinct values."""
        return len(self.values)

    @property
    def missing(self) -> int:
        """Number of rows without a value."""
        return self.rows - int(self.counts.sum())

    @property
    def text(self) -> bool:
        """True if a value is not a number."""
        return self.numbers is None

    @property
    def unique(self) -> bool:
        """True if no two rows have the same value."""
        return self.distinct == self.rows > 1

    @property
    def yes_and_no(self) -> tuple[str, str] | None:
        """Values that mean yes and no, if the column has only these two."""
        if self.distinct != 2 or {value.lower() for value in self.values} not in _YES_NO:
            return None
        no, yes = sorted(self.values, key=str.lower)
        return yes, no

    def share(self, value: str) -> float:
        """Return the share of rows with a value."""
        return float(self.counts[self.values == value].sum()) / self.rows

    def span(self) -> tuple[float, float]:
        """Return the lowest and the highest number."""
        finite = self._finite()
        return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)

    def lone_negative(self) -> int | None:
        """Return the only negative value if it is a whole number, as it may stand for a missing value."""
        finite = self._finite()
        negative = finite[finite < 0]
        return int(negative[0]) if len(negative) == 1 and len(finite) > 3 and negative[0] % 1 == 0 else None

    def skewness(self, without: float | None) -> float:
        """Return the third standardised moment without one value; 0 for a constant."""
        assert self.numbers is not None
        kept = np.isfinite(self.numbers) & (self.numbers != without)
        numbers, weights = self.numbers[kept], self.counts[kept]
        if len(numbers) < 2:
            return 0.0
        centred = numbers - np.average(numbers, weights=weights)
        deviation = np.sqrt(np.average(centred**2, weights=weights))
        return float(np.average((centred / deviation) ** 3, weights=weights)) if deviation > 0 else 0.0

    def _finite(self) -> npt.NDArray[np.float64]:
        assert self.numbers is not None
        return self.numbers[np.isfinite(self.numbers)]


@dataclass(frozen=True, slots=True)
class Sample:
    """Sample of a table: the first rows of its files."""

    folder: Path
    """Source folder of the table."""
    name: str
    table: TableSection
    rows: int
    files: int
    """Number of files of the table."""
    whole: bool
    """True if the sample has all rows."""
    columns: tuple[ColumnProfile, ...]
    row_numbers: frozenset[str]
    """Names of the columns that number the rows."""
    unreadable: tuple[tuple[str, str], ...]
    """Names of unusable columns, and the reasons."""


def look_at(table: Path) -> Sample:
    """Read the first rows of a table, equally many from each file, or from some of the files.

    Parameters
    ----------
    table
        CSV or Parquet file, or folder of files of one of these kinds.

    Raises
    ------
    UserError
        The table does not exist, has no header or no row, or cannot be read.
    """
    folder, pattern = found_files(table)
    sources = SourceFolder(folder, table.name).find(pattern)
    spec = found_form(sources[0], pattern)
    names = column_names(sources[0], spec)
    if all(re.fullmatch(_NUMBER, name) for name in names):
        shown = spec.delimiter.join(names)[:60]
        raise UserError(f"{sources[0]}, line 1: got '{shown}', expected the names of the columns: add a header line")
    unreadable = _unreadable(sources[0], names)
    columns = ColumnSelection(tuple(name for name in names if name not in unreadable))
    if not columns.texts:
        raise UserError(f"{sources[0]}: got no column of text or numbers, expected a label and features")
    step = -(-len(sources) // _FILES)
    chosen = sources[::step]
    files: list[list[pa.Table]] = []
    whole = step == 1
    for source in chosen:
        taken, complete = _first_rows(source, spec, columns, ROWS // len(chosen))
        files.append(taken)
        whole = whole and complete
    blocks = [block for taken in files for block in taken]
    rows = sum(block.num_rows for block in blocks)
    if not rows:
        raise UserError(f"{sources[0]}: got a header and no row, expected some thousand rows")
    profiles = tuple(
        ColumnProfile.of_parts(name, rows, [block.column(name) for block in blocks], spec.delimiter)
        for name in columns.texts
    )
    forms = {each.name: each.form for each in profiles if each.form != PLAIN}
    spec = spec.model_copy(update={"columns": forms})
    row_numbers = frozenset(
        each.name
        for each in profiles
        if each.integers
        and not each.missing
        and is_row_number(each.name, each.distinct, [[block.column(each.name) for block in taken] for taken in files])
    )
    return Sample(
        folder, table_name(table), spec, rows, len(sources), whole, profiles, row_numbers, tuple(unreadable.items())
    )


def all_match(values: Texts, pattern: str) -> bool:
    """Return whether all texts match a regular expression (RE2)."""
    return bool(pc.all(pc.match_substring_regex(pa.array(values, type=pa.string()), pattern)).as_py())


def share_matching(values: Texts, pattern: str) -> float:
    """Return the share of texts that match a regular expression (RE2)."""
    matching = pc.match_substring_regex(pa.array(values, type=pa.string()), pattern)
    return float(pc.mean(matching.cast(pa.int8())).as_py() or 0.0)


def _unreadable(source: SourceFile, names: Sequence[str]) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for name in names:
        if not name:
            reasons[name] = "it has no name: an index that was written with the table?"
        elif len(name) > _LONGEST_NAME or re.search(_RUN, name):
            reasons[name] = "a schema cannot name it: rename it"
    if source.ending in PARQUET_ENDINGS:
        for field in pq.read_schema(source.path):
            if pa.types.is_nested(field.type) or pa.types.is_null(field.type) or _is_binary(field.type):
                reasons.setdefault(field.name, f"its type is {field.type}, which is neither text nor a number")
    return reasons


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _first_rows(
    source: SourceFile, table: TableSection, columns: ColumnSelection, limit: int
) -> tuple[list[pa.Table], bool]:
    """Return the first rows of a file, and whether these are all rows."""
    blocks: list[pa.Table] = []
    for task in block_tasks(source, table, columns, ignore):
        rows = task().rows
        if rows.num_rows > limit:
            return [*blocks, rows.slice(0, limit)], False
        blocks.append(rows)
        limit -= rows.num_rows
    return blocks, True


def _counts(distinct: pa.Array, index: Integers, form: ColumnForm) -> pd.Series[int]:
    """Return the number of rows of each distinct value, by its canonical text."""
    texts = of_texts(plain_numbers(distinct, form) if form.is_number else distinct, index, PLAIN)
    counts = texts.counts()
    there = counts > 0
    return pd.Series(counts[there], index=pd.Index(texts.values[there], dtype=object))
