"""A first schema for a user's own table, as YAML text that says at each line why it is there."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pfmsmtrec_flwr.data.draft.features import ColumnGuess, described
from pfmsmtrec_flwr.data.draft.guesses import ColumnRoles, ScenarioGuess, folder_name, guess, unique
from pfmsmtrec_flwr.data.draft.profile import Sample, look_at, table_name
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.features import FieldSection, NumericSection
from pfmsmtrec_flwr.data.schema.tasks import TaskSection
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import Section, load_yaml, parse

_WIDTH = 118
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_FOLDER_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_THERE = "{} is there already, and may hold your changes: give another --output, or remove it"
_OFFERED = 5


@dataclass(frozen=True, slots=True)
class Draft:
    """A schema that was written from a table."""

    text: str
    schema: DatasetSchema
    source: Path
    """Folder to prepare from."""
    rows: int
    """Rows that were looked at."""
    left_out: int
    """Columns without a part in it."""

    def summary(self) -> str:
        """Say how many columns became what."""
        scenario = self.schema.scenario
        federated = sum(field.embedding == "federated" for field in self.schema.fields.values())
        local = len(self.schema.fields) - federated
        kinds = [
            ("scenario", len(scenario.values or scenario.names or ())),
            ("task", len(self.schema.tasks)),
            ("federated field", federated),
            ("local field", local),
            ("numeric column", len(self.schema.numeric)),
        ]
        counted = [f"{count} {kind}" + ("" if count == 1 else "s") for kind, count in kinds]
        return f"{', '.join(counted)}; {self.left_out} left out"

    def write(self, path: Path) -> None:
        """Write the text into a new file.

        Raises
        ------
        UserError
            The file is there already, or cannot be written.
        """
        try:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(self.text)
        except FileExistsError:
            raise UserError(_THERE.format(path)) from None
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None


def schema_path(table: Path, output: Path | None, name: str) -> Path:
    """Return where the schema of a table goes, by default to a file of the data set's name in the current folder.

    Raises
    ------
    UserError
        A file is there already, or the name cannot be one of a schema.
    """
    if name and re.fullmatch(_FOLDER_NAME, name) is None:
        raise UserError(f"got the name '{name}', expected letters, digits, '.', '_' and '-', such as my-shop")
    path = output.expanduser() if output is not None else Path(f"{name or _default_name(table)}.yaml")
    if path.suffix not in {".yaml", ".yml"}:
        raise UserError(f"got the output '{path}', expected a file that ends in .yaml: `pfmsmtrec prepare` wants that")
    if path.exists():
        raise UserError(_THERE.format(path))
    return path


def draft(table: Path, name: str = "") -> Draft:
    """Look at the first rows of a table, and write a schema for it.

    Parameters
    ----------
    table
        A CSV or Parquet file, or a folder of them.
    name
        Of the data set; by default the table's, made safe.

    Raises
    ------
    UserError
        The table cannot be read, no column can be a label or a field, or the name cannot be one of a folder.
    """
    sample = look_at(table)
    plan = guess(sample)
    text = _text(sample, plan, name or _default_name(table))
    return Draft(
        text, parse(DatasetSchema, load_yaml(text), "the draft"), sample.folder, sample.rows, len(plan.left_out)
    )


def quoted(text: str) -> str:
    """Write a text as YAML that is read as this text, on one line."""
    if _PLAIN.fullmatch(text) and load_yaml(text) == text:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=sys.maxsize).rstrip("\n")


def entry(indent: int, key: str, value: Any, reason: str = "") -> list[str]:
    """Write one key as YAML in the flow style, its reason as a comment behind it or, if that is too long, above.

    Parameters
    ----------
    indent
        Spaces before it.
    key, value
        Nested mappings, sequences, texts and numbers.
    reason
        Signs that cannot be printed are replaced.
    """
    margin = " " * indent
    atoms = _atoms(value)
    line = f"{margin}{quoted(key)}: {' '.join(atoms)}"
    if reason and len(line) + len(reason) + 3 <= _WIDTH:
        return [f"{line} # {_printable(reason)}"]
    above = _comment(indent, reason) if reason else []
    if len(line) <= _WIDTH:
        return [*above, line]
    lines = [f"{margin}{quoted(key)}:"]
    for atom in atoms:
        if len(lines[-1]) + len(atom) + 1 > _WIDTH:
            lines.append(f"{margin}   ")
        lines[-1] += f" {atom}"
    return [*above, *lines]


def _default_name(table: Path) -> str:
    return folder_name(table_name(table), "table")


def _text(sample: Sample, plan: ColumnRoles, name: str) -> str:
    looked = f"{'all' if sample.whole else 'the first'} {sample.rows:,} rows"
    files = "one file" if sample.files == 1 else f"{sample.files:,} files"
    table = sample.table.model_dump(include={"files"}) | {
        key: value
        for key, value in (("delimiter", sample.table.delimiter), ("missing", sample.table.missing))
        if value != type(sample.table).model_fields[key].default
    }
    lines = [
        *_comment(
            0,
            f"A draft, guessed from names and values ({looked} of {files}): read and correct every line. What is known "
            "only after the impression (time spent, further labels, counts over the test period) must be no feature, "
            "and what may identify a person must be local or left out. Every key: "
            "pfmsmtrec_flwr/data/schema/",
        ),
        *entry(0, "name", name),
        *entry(0, "title", sample.name),
        "licence: ask its owner",
        "url: none",
        "",
        *entry(0, "table", table, "below the folder that is given as --source" + _words_of_missing(sample)),
        "",
        *_scenario(plan, sample),
        "",
        *_tasks(plan.tasks),
        "",
    ]
    if plan.users is not None:
        reason = f"{described(plan.users)}; for grouped AUC; never leaves the scenario"
        lines += entry(0, "users", plan.users.name, reason)
    lines += ["split:", *_sections(plan.split, plan.split_reason), ""]
    taken: set[str] = set()
    for heading, kind in (("fields", FieldSection), ("numeric", NumericSection)):
        guesses = [each for each in plan.features if isinstance(each.spec, kind)]
        if guesses:
            lines += [f"{heading}:", *(line for each in guesses for line in _feature(each, taken)), ""]
    if plan.left_out:
        lines += ["# Left out:"]
        lines += [line for column, why in plan.left_out for line in _comment(0, f"- {column or '(no name)'}: {why}")]
    return "\n".join(lines).rstrip("\n") + "\n"


def _words_of_missing(sample: Sample) -> str:
    return "; missing: found among numbers, and meant in every column" if len(sample.table.missing) > 1 else ""


def _scenario(plan: ColumnRoles, sample: Sample) -> list[str]:
    found = plan.scenarios
    lines = ["scenario:"]
    if found is None:
        reason = "no column with 2 to 30 values says what the scenario is, so the whole table is one"
        lines += entry(2, "names", ["all"], reason)
    else:
        lines += entry(2, "column", found.column.name, found.reason)
        lines += entry(2, "values", found.names, "value: name of the scenario" if not found.rare else "")
        lines += _others(found, sample)
    offered = [f"{column.name} ({described(column)})" for column in plan.could_be_scenarios[:_OFFERED]]
    return lines + (_comment(2, f"could be it too: {', '.join(offered)}") if offered else [])


def _others(found: ScenarioGuess, sample: Sample) -> list[str]:
    if found.rare:
        shown = ", ".join(found.rare[:_OFFERED]) + (", ..." if len(found.rare) > _OFFERED else "")
        return entry(2, "others", "drop", f"rows of {shown}, which are too few for a scenario, are left out")
    if found.column.missing:
        return entry(2, "others", "drop", "rows without a value are left out")
    return [] if sample.whole else _comment(2, "A value that comes later is an error: add it, or others: drop")


def _tasks(tasks: Sequence[ColumnGuess]) -> list[str]:
    lines = ["tasks:"]
    taken: set[str] = set()
    for each in tasks:
        document = each.spec.model_dump(exclude_unset=True)
        key = unique(_field_name(each.column.name), taken)
        lines += entry(2, key, each.column.name if list(document) == ["column"] else document, each.reason)
    return lines


def _sections(split: Section, reason: str) -> list[str]:
    ((rule, document),) = split.model_dump(exclude_unset=True).items()
    return entry(2, rule, document, reason)


def _feature(guessed: ColumnGuess, taken: set[str]) -> list[str]:
    assert not isinstance(guessed.spec, TaskSection)
    name = guessed.column.name
    key = unique(_field_name(name), taken)
    document = ({} if key == name else {"column": name}) | guessed.spec.model_dump(exclude_unset=True)
    if "embedding" in document:
        document["embedding"] = document.pop("embedding")  # what is learned before whose it is
    return entry(2, key, document, guessed.reason)


def _field_name(column: str) -> str:
    """Return a key for a column: as it is called, if a field may be called so."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", column).strip("_") or "column" if not _is_key(column) else column


def _is_key(column: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]+", column) is not None


def _atoms(value: Any) -> list[str]:
    """Write a value in the flow style, in pieces between which a line may end."""
    if isinstance(value, Mapping):
        opening, closing = "{}"
        items = []
        for key, each in value.items():
            first, *others = _atoms(each)
            items.append([f"{_scalar(key)}: {first}", *others])
    elif isinstance(value, list | tuple):
        opening, closing = "[]"
        items = [_atoms(each) for each in value]
    else:
        return [_scalar(value)]
    for item in items[:-1]:
        item[-1] += ","
    atoms = [atom for item in items for atom in item] or [""]
    atoms[0] = opening + atoms[0]
    atoms[-1] += closing
    return atoms


def _scalar(value: str | float) -> str:
    return quoted(value) if isinstance(value, str) else str(value)


def _comment(indent: int, text: str) -> list[str]:
    margin = " " * indent + "# "
    return textwrap.wrap(
        _printable(text), _WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)
