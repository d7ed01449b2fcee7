"""Profile of a user's own table: its form, and statistics of each column over a sample of rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pfmsmtrec_flwr.data.draft.column_forms import guess_form, words_among
from pfmsmtrec_flwr.data.draft.own_files import OwnFiles, find_own_files
from pfmsmtrec_flwr.data.draft.row_numbers import is_row_number
from pfmsmtrec_flwr.data.draft.table_files import found_files, found_form, table_name
from pfmsmtrec_flwr.data.encode.encoders import Integers, Texts, coded, distinct_values, matching, of_texts
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


Files: TypeAlias = Sequence[tuple[str, Sequence[pa.Table]]]
"""Name and sampled blocks of each file."""


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
    absent: tuple[str, ...] = ()
    """Names of the files without this column."""
    forms: dict[str, ColumnForm] = field(default_factory=dict)
    """Form of the numbers in each file, if not all files have the same."""

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
    def of_files(cls, name: str, files: Files, delimiter: str, *, apart: bool) -> ColumnProfile:
        """Make a profile of a column.

        Parameters
        ----------
        name
            Name of the column, which some files may lack.
        files
            Name and sampled blocks of each file.
        delimiter
            Sign between the columns of the files.
        apart
            True if each file may have a form of its own in the schema.
        """
        there = {file: blocks for file, blocks in files if blocks and name in blocks[0].column_names}
        parts = {file: [distinct_values(block.column(name)) for block in blocks] for file, blocks in there.items()}
        form, forms = _forms(parts, delimiter)
        if forms and apart:
            form = next(iter(forms.values()))
        counts = [
            _counts(distinct, index, forms.get(file, form) if apart else form)
            for file, blocks in parts.items()
            for distinct, index in blocks
        ]
        rows = sum(block.num_rows for blocks in there.values() for block in blocks)
        found = cls.of(name, rows, pd.concat(counts).groupby(level=0, sort=False).sum())
        words = found.words
        if form.is_number or (forms and apart):
            words = tuple(words_among(text for blocks in parts.values() for text in _trimmed(blocks)))
        return replace(
            found,
            form=form,
            words=words,
            rounded=sum(rounded_ids(*block) for blocks in parts.values() for block in blocks),
            absent=tuple(file for file, blocks in files if blocks and file not in there),
            forms=forms,
        )

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
    def yes_and_no(self) -> tuple[str, str] | None:
        """Values that mean yes and no, if the column has only these two."""
        if self.distinct != 2 or {value.lower() for value in self.values} not in _YES_NO:
            return None
        no, yes = sorted(self.values, key=str.lower)
        return yes, no

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
    own_files: OwnFiles | None = None
    """Scenarios of the files, if each has one of its own and the files differ in columns or forms."""


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
    step = -(-len(sources) // _FILES)
    names, unreadable, files = _first_rows_of(sources[::step], spec)
    rows = sum(block.num_rows for _, _, blocks in files for block in blocks)
    if not rows:
        raise UserError(f"{sources[0]}: got a header and no row, expected some thousand rows")
    sampled = [(file, blocks) for file, _, blocks in files]
    own = find_own_files(sampled) if step == 1 else None
    profiles = tuple(ColumnProfile.of_files(name, sampled, spec.delimiter, apart=own is not None) for name in names)
    if not any(each.absent or each.forms for each in profiles):
        own = None  # one pattern for all files, and a column of the scenario, do as well
    if own is not None:
        spec = spec.model_copy(update={"files": (own.pattern,), "columns_of": _columns_of(profiles, own)})
    spec = spec.model_copy(update={"columns": {each.name: each.form for each in profiles if each.form != PLAIN}})
    row_numbers = frozenset(
        each.name
        for each in profiles
        if each.integers
        and not each.missing
        and is_row_number(
            each.name,
            each.distinct,
            [
                [block.column(each.name) for block in blocks]
                for file, blocks in sampled
                if blocks and file not in each.absent
            ],
        )
    )
    whole = step == 1 and all(complete for _, complete, _ in files)
    return Sample(
        folder,
        table_name(table),
        spec,
        rows,
        len(sources),
        whole,
        profiles,
        row_numbers,
        tuple(unreadable.items()),
        own,
    )


def _first_rows_of(
    sources: Sequence[SourceFile], table: TableSection
) -> tuple[list[str], dict[str, str], list[tuple[str, bool, list[pa.Table]]]]:
    """Return the names of the usable columns, the reasons why others are not, and the first rows of each file.

    For each file these are its name, True if these are all its rows, and blocks of them.
    """
    known: dict[str, None] = {}
    unreadable: dict[str, str] = {}
    files = []
    for source in sources:
        names = column_names(source, table)
        if all(re.fullmatch(_NUMBER, name) for name in names):
            shown = table.delimiter.join(names)[:60]
            raise UserError(f"{source}, line 1: got '{shown}', expected the names of the columns: add a header line")
        if known and not known.keys() & set(names):
            raise UserError(
                f"{source}: got the columns {', '.join(names)[:60]}, none of which is in {sources[0]}: name the files "
                "of one table"
            )
        unreadable |= _unreadable(source, names)
        known |= dict.fromkeys(names)
        files.append((source, names))
    usable = [name for name in known if name not in unreadable]
    if not usable:
        raise UserError(f"{sources[0]}: got no column of text or numbers, expected a label and features")
    found = []
    for source, names in files:
        columns = ColumnSelection(tuple(name for name in names if name not in unreadable))
        blocks, complete = _first_rows(source, table, columns, ROWS // len(sources))
        found.append((source.name, complete, blocks))
    return usable, unreadable, found


def _columns_of(profiles: Sequence[ColumnProfile], own: OwnFiles) -> dict[str, dict[str, ColumnForm]]:
    """Return the forms of the columns of a scenario that are not those of the table."""
    found: dict[str, dict[str, ColumnForm]] = {}
    for each in profiles:
        for file, form in each.forms.items():
            if form != each.form:
                found.setdefault(own.names[file], {})[each.name] = form
    return dict(sorted(found.items()))


def all_match(values: Texts, pattern: str) -> bool:
    """Return whether all texts match a regular expression (RE2)."""
    return bool(matching(values, pattern).all())


def share_matching(values: Texts, pattern: str) -> float:
    """Return the share of texts that match a regular expression (RE2)."""
    return float(matching(values, pattern).mean())


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


Parts: TypeAlias = Mapping[str, Sequence[tuple[pa.Array, Integers]]]
"""Distinct values of a column and their index, for each block of each file."""


def _forms(parts: Parts, delimiter: str) -> tuple[ColumnForm, dict[str, ColumnForm]]:
    """Return the form of a column, and that of each file where every file has numbers but not in one form."""
    if not all(pa.types.is_string(distinct.type) for blocks in parts.values() for distinct, _ in blocks):
        return PLAIN, {}
    texts = {file: _trimmed(blocks) for file, blocks in parts.items()}
    every = np.array(list(dict.fromkeys(text for own in texts.values() for text in own)), dtype=object)
    form = guess_form(every, delimiter)
    if form != PLAIN or len(texts) < 2 or all_match(every, _NUMBER):
        return form, {}
    forms = {file: guess_form(own, delimiter) for file, own in texts.items()}
    numbers = all(forms[file] != PLAIN or all_match(_without_words(own), _NUMBER) for file, own in texts.items())
    return PLAIN, forms if numbers and len({repr(each) for each in forms.values()}) > 1 else {}


def _trimmed(blocks: Sequence[tuple[pa.Array, Integers]]) -> Texts:
    """Return the distinct texts of blocks of texts without white space around them."""
    texts = [distinct for distinct, _ in blocks if pa.types.is_string(distinct.type)]
    trimmed = pc.utf8_trim_whitespace(pa.chunked_array(texts, type=pa.string())).unique().drop_null()
    return np.asarray(trimmed.to_numpy(zero_copy_only=False), dtype=object)


def _without_words(texts: Texts) -> Texts:
    words = words_among(texts)
    return np.array([text for text in texts if text and text not in words], dtype=object)


def _counts(distinct: pa.Array, index: Integers, form: ColumnForm) -> pd.Series[int]:
    """Return the number of rows of each distinct value, by its canonical text."""
    texts = of_texts(plain_numbers(distinct, form) if form.is_number else distinct, index, PLAIN)
    counts = texts.counts()
    there = counts > 0
    return pd.Series(counts[there], index=pd.Index(texts.values[there], dtype=object))
