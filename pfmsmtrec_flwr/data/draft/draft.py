"""Draft of a schema for a user's own table, as YAML text with a reason at each line."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pfmsmtrec_flwr.data.draft.features import ColumnGuess, described
from pfmsmtrec_flwr.data.draft.guesses import ColumnRoles, ScenarioGuess, folder_name, guess, unique
from pfmsmtrec_flwr.data.draft.points_in_time import parts_of
from pfmsmtrec_flwr.data.draft.profile import Sample, look_at
from pfmsmtrec_flwr.data.draft.table_files import table_name
from pfmsmtrec_flwr.data.read.streams import UTF_8
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection, NumericSection
from pfmsmtrec_flwr.data.schema.task_sections import TaskSection
from pfmsmtrec_flwr.data.schema.time_section import EPOCH_FORMS, TimeSection
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import Section, load_yaml, parse

_WIDTH = 118
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_FOLDER_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_THERE = "{} is there already, and may hold your changes: choose another --output, or remove it"
_OFFERED = 5


@dataclass(frozen=True, slots=True)
class Draft:
    """Schema drafted from a table."""

    text: str
    schema: DatasetSchema
    source: Path
    """Folder of the table."""
    rows: int
    """Number of rows in the sample."""
    left_out: int
    """Number of columns left out."""

    def summary(self) -> str:
        """Return the numbers of scenarios, tasks, fields and columns in one line."""
        scenario = self.schema.scenario
        federated = sum(field.embedding == "federated" for field in self.schema.fields.values())
        local = len(self.schema.fields) - federated
        kinds = [
            ("scenario", len(scenario.all_names())),
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
            The file exists or cannot be written.
        """
        try:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(self.text)
        except FileExistsError:
            raise UserError(_THERE.format(path)) from None
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None


def schema_path(table: Path, output: Path | None, name: str) -> Path:
    """Return the path of a new schema; the default is the data set's name in the current folder.

    Raises
    ------
    UserError
        The file exists, or the name is not valid.
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
    """Draft a schema from the first rows of a table.

    Parameters
    ----------
    table
        A CSV or Parquet file, or a folder of them.
    name
        Name of the data set; the default is made from the table's name.

    Raises
    ------
    UserError
        The table cannot be read, no column can be a label or a field, or the name is not valid.
    """
    sample = look_at(table)
    plan = guess(sample)
    text = _text(sample, plan, name or _default_name(table))
    return Draft(
        text,
        parse(DatasetSchema, load_yaml(text, as_written=True), "the draft"),
        sample.folder,
        sample.rows,
        len(plan.left_out),
    )


def quoted(text: str) -> str:
    """Return a text as one line of YAML, in quotes if any version of YAML takes it for something else."""
    if _PLAIN.fullmatch(text) and load_yaml(text) == text and _is_text_elsewhere(text):
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=sys.maxsize).rstrip("\n")


def _is_text_elsewhere(text: str) -> bool:
    with suppress(ValueError):  # an impossible date
        return bool(yaml.safe_load(text) == text)
    return False


def entry(indent: int, key: str, value: Any, reason: str = "") -> list[str]:
    """Return the lines of one key in YAML's flow style, with the reason as a comment at its end or above it.

    Parameters
    ----------
    indent
        Spaces before the key.
    key, value
        Key and value: nested mappings, sequences, texts and numbers.
    reason
        Text of the comment; unprintable characters are replaced.
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


def _about_table(table: Mapping[str, Any]) -> str:
    reasons = ["below the folder of --source"]
    if "encoding" in table:
        reasons.append("encoding: are letters such as \u00e9 right?")
    if "columns" in table:
        reasons.append("columns: how values are written")
    return "; ".join(reasons)


def _text(sample: Sample, plan: ColumnRoles, name: str) -> str:
    looked = f"{'all' if sample.whole else 'the first'} {sample.rows:,} rows"
    files = "one file" if sample.files == 1 else f"{sample.files:,} files"
    table = sample.table.model_dump(include={"files"})
    if sample.table.delimiter != ",":
        table["delimiter"] = sample.table.delimiter
    if sample.table.encoding != UTF_8:
        table["encoding"] = sample.table.encoding
    if forms := _forms(sample, plan):
        table["columns"] = forms
    if sample.table.columns_of:
        table["columns_of"] = sample.table.model_dump(include={"columns_of"}, exclude_defaults=True)["columns_of"]
    lines = [
        *_comment(
            0,
            f"A draft, guessed from names and values ({looked} of {files}). Read and correct every line. Remove "
            "columns that are known only after the impression (time spent, further labels, counts over the test "
            "period). Columns that may identify a person must be local or left out. Every key: "
            "pfmsmtrec_flwr/data/schema/",
        ),
        *entry(0, "name", name),
        *entry(0, "title", sample.name),
        "licence: ask its owner",
        "url: none",
        "",
        *entry(0, "table", table, _about_table(table)),
        "",
        *_scenario(plan, sample),
        "",
        *_tasks(plan.tasks),
        "",
    ]
    if plan.users is not None:
        reason = f"{described(plan.users)}; for grouped AUC; never leaves the scenario"
        lines += entry(0, "users", plan.users.name, reason)
    if plan.times:
        forms = {column: time.model_dump(exclude_unset=True) for column, time in plan.times.items()}
        lines += entry(0, "times", forms, _words_of_times(plan.times.values()))
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


def _forms(sample: Sample, plan: ColumnRoles) -> dict[str, dict[str, Any]]:
    """Return how the values of columns are written; the words for a missing user are in the user's column."""
    forms = {name: form.model_dump(exclude_defaults=True) for name, form in sample.table.columns.items()}
    if plan.users is not None and plan.users.words:
        forms.setdefault(plan.users.name, {})["missing"] = plan.users.words
    return forms


def _words_of_times(times: Iterable[TimeSection]) -> str:
    (form,) = {time.form for time in times}
    if form == "number":
        return "a count of days; days of a month or of a week have no order"
    zone = "; days of UTC, unless a zone is added" if form in ("iso-zone", *EPOCH_FORMS) else ""
    return f"form of every value{zone}; for fields, transform: {parts_of(form)}"


def _scenario(plan: ColumnRoles, sample: Sample) -> list[str]:
    found = plan.scenarios
    lines = ["scenario:"]
    if (own := sample.own_files) is not None:
        lines += entry(2, "names", own.scenarios(()), f"a file for each; its column '{own.column}' says so")
    elif found is None:
        reason = "no column with 2 to 30 values looks like the scenario, so the whole table is one"
        lines += entry(2, "names", ["all"], reason)
    else:
        lines += entry(2, "column", found.column.name, found.reason)
        lines += entry(2, "values", found.names, "value: name of the scenario" if not found.rare else "")
        lines += _others(found, sample)
    offered = [f"{column.name} ({described(column)})" for column in plan.could_be_scenarios[:_OFFERED]]
    return lines + (_comment(2, f"other candidates: {', '.join(offered)}") if offered else [])


def _others(found: ScenarioGuess, sample: Sample) -> list[str]:
    if found.rare:
        shown = ", ".join(found.rare[:_OFFERED]) + (", ..." if len(found.rare) > _OFFERED else "")
        return entry(2, "others", "drop", f"rows of {shown}, which are too few for a scenario, are left out")
    if found.column.missing:
        return entry(2, "others", "drop", "rows without a value are left out")
    return [] if sample.whole else _comment(2, "A further value is an error: add it, or set others: drop")


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
        document["embedding"] = document.pop("embedding")  # encoder first, then embedding
    return entry(2, key, document, guessed.reason)


def _field_name(column: str) -> str:
    """Return a valid key for a column, its own name if possible."""
    key = re.sub(r"[^A-Za-z0-9_-]+", "_", column)
    return column if key == column else key.strip("_") or "column"


def _atoms(value: Any) -> list[str]:
    """Return a value in the flow style, in pieces between which a line may end."""
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
    if isinstance(value, str):
        return quoted(value)
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _comment(indent: int, text: str) -> list[str]:
    margin = " " * indent + "# "
    return textwrap.wrap(
        _printable(text), _WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)
