"""Turn a parsed YAML or JSON document into a typed, checked object, or into one clear line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.yaml_text import PlainDumper, PlainLoader, WrittenLoader


class Section(BaseModel):
    """Base of every typed document: immutable, no unknown key, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


_SAFE_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
_SHOWN = 100
_MOST_HINTS = 3
_SCALARS = {"bool", "int", "float", "str"}  # pydantic's names of the members of a union

S = TypeVar("S", bound=Section)


def parse(kind: type[S], document: Mapping[str, Any], source: str, *, prefix: str = "") -> S:
    """Check `document` against `kind`.

    Parameters
    ----------
    kind
        The section's class.
    document
        Nested mapping, as read from YAML.
    source
        Origin of the document, such as a file's path, for the message of an error.
    prefix
        Text before each key in the message of an error.

    Raises
    ------
    UserError
        The message names the key, the source, what was got and what was expected.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{source}: {_first_line(kind, error, prefix)}") from None


def parse_json(kind: type[S], text: str, source: str) -> S:
    """Check the JSON text of a document against `kind`, by a parser that no text makes raise anything else.

    Raises
    ------
    UserError
        The text is not JSON, or not a document of this kind.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{source}: {_first_line(kind, error, '')}") from None


def load_yaml(text: str, *, as_written: bool = False) -> Any:
    """Read YAML text; raise `yaml.YAMLError` if it is none.

    Parameters
    ----------
    text
        Text of one document.
    as_written
        Return numbers that know their spelling, `WrittenInteger` and `WrittenFloat`.
    """
    return yaml.load(text, Loader=WrittenLoader if as_written else PlainLoader)  # SafeLoaders


def dump_yaml(document: Mapping[str, Any]) -> str:
    """Return YAML text that `load_yaml` reads back unchanged."""
    return yaml.dump(dict(document), Dumper=PlainDumper, sort_keys=False)


def flow_yaml(document: Mapping[str, Any]) -> str:
    """Return a document as one line of YAML.

    >>> flow_yaml({"by_date": {"column": "day"}})
    '{by_date: {column: day}}'
    """
    return yaml.dump(dict(document), Dumper=PlainDumper, sort_keys=False, default_flow_style=True, width=inf).strip()


def read_yaml(path: Path, *, as_written: bool = False) -> dict[str, Any]:
    """Read one YAML mapping; `as_written` is that of `load_yaml`.

    Raises
    ------
    UserError
        The file is missing, is not YAML, or is not a mapping.
    """
    try:
        document = load_yaml(path.read_text(encoding="utf-8"), as_written=as_written)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise UserError(f"{path}: got a {type(document).__name__}, expected a mapping of keys to values")
    return document


def yaml_files(folder: Path) -> dict[str, Path]:
    """Return the YAML files of a folder by their names without the ending, sorted."""
    return {file.stem: file for file in sorted(folder.glob("*.yaml"), key=lambda file: file.stem)}


def find_yaml(kind: str, name_or_path: str, known: Mapping[str, Path]) -> Path:
    """Return the file that a name or a path stands for.

    Parameters
    ----------
    kind
        Kind of the file, for the message of an error.
    name_or_path
        One of the known names, or the path of a file.
    known
        Files by name.

    Raises
    ------
    UserError
        There is none; the message lists the known names.
    """
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path).expanduser()
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path.resolve()
    close = get_close_matches(name_or_path, list(known), n=1) if "/" not in name_or_path else []
    hint = f"; did you mean {alternatives(close)}?" if close else ""
    raise UserError(
        f"{kind} '{name_or_path}' not found: expected one of {', '.join(known)}, or the path of a YAML file{hint}"
    )


def safe_folder(root: Path, *names: str) -> Path:
    """Return ``root/name/...`` for names that come from elsewhere.

    Raises
    ------
    UserError
        A name could lead out of the folder.
    """
    for name in names:
        if not _SAFE_NAME.fullmatch(name) or name.startswith("."):
            raise UserError(f"got the name '{name}', expected letters, digits, '_', '-' and '.' only")
    return root.joinpath(*names)


def _first_line(kind: type[Section], error: ValidationError, prefix: str) -> str:
    problems = error.errors(include_url=False, include_context=True)
    first = problems[0]
    if _is_no_scalar(first["loc"], problems):
        return f"key '{prefix}{'.'.join(map(str, first['loc'][:-1]))}': got {first['input']!r}, expected a single value"
    key = prefix + ".".join(str(part) for part in first["loc"]) or "(document)"
    if first["type"] == "extra_forbidden":
        line = f"unknown key '{key}'{_suggest(kind, first['loc'])}"
    elif first["type"] == "missing":
        line = f"key '{key}' is missing"
    else:
        shown = "null" if first["input"] is None else repr(first["input"])
        got = f"got {shown}; " if len(shown) <= _SHOWN else ""  # not a whole document
        line = f"key '{key}': {got}{_expectation(first)}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return line + more


_LISTS = ("tuple_type", "list_type")
_EXPECTED = {
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "expected a mapping of keys to values"),
    **dict.fromkeys(_LISTS, "expected a list such as [a, b]"),
    "bool_type": "expected true or false",
}
"""Expectations by type of error, where the library's words name its own types."""


def _expectation(problem: ErrorDetails) -> str:
    value = problem["input"]
    if problem["type"] in _LISTS and isinstance(value, str) and len(value) <= _SHOWN:
        return f"expected a list: write [{', '.join(part.strip() for part in value.split(','))}]"
    if problem["type"] == "string_type" and isinstance(value, bool | int | float):
        return f"{_lower(problem['msg'])}: write it in quotes"
    return _EXPECTED.get(problem["type"]) or _lower(problem["msg"])


def _is_no_scalar(location: tuple[int | str, ...], problems: Sequence[ErrorDetails]) -> bool:
    """Return whether no member of a union of scalars accepts the value at `location`, whose last part is a member."""
    members = {problem["loc"][-1] for problem in problems if problem["loc"] and problem["loc"][:-1] == location[:-1]}
    return len(members) > 1 and members <= _SCALARS


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _suggest(kind: type[Section], location: tuple[int | str, ...]) -> str:
    known: type[BaseModel] | None = kind
    for part in location[:-1]:
        if known is None or not isinstance(part, str) or part not in known.model_fields:
            return ""
        known = _section_of(known.model_fields[part].annotation)
    if known is None:
        return ""
    names = list(known.model_fields)
    if close := close_keys(str(location[-1]), names) or close_keys(str(location[-1]), nested_keys(kind)):
        return f"; did you mean {alternatives(close)}?"
    return f"; known keys: {', '.join(names)}"


def nested_keys(kind: type[BaseModel]) -> list[str]:
    """Return the keys of all values of a document's class, nested ones with dots: ``train.lr``."""
    keys = []
    for name, field in kind.model_fields.items():
        section = _section_of(field.annotation)
        keys += [name] if section is None else [f"{name}.{key}" for key in nested_keys(section)]
    return keys


def close_keys(name: str, known: Sequence[str]) -> list[str]:
    """Return the known keys that a misspelt or shortened one may mean, at most three.

    Parameters
    ----------
    name
        Key that is not known.
    known
        Known keys, nested ones with dots.

    Examples
    --------
    >>> close_keys("lr", ["train.lr", "train.batch_size"]), close_keys("embeding", ["embedding", "dropout"])
    (['train.lr'], ['embedding'])
    """
    last = name.rpartition(".")[2]
    same = [key for key in known if key.rpartition(".")[2] == last]
    if same:
        return same[:_MOST_HINTS]
    if close := get_close_matches(name, known, n=1):
        return close
    by_last = {key.rpartition(".")[2]: key for key in reversed(known)}
    return [by_last[close] for close in get_close_matches(last, list(by_last), n=1)]


def alternatives(names: Sequence[str]) -> str:
    """Return names in quotes, as alternatives.

    >>> alternatives(["a", "b"])
    "'a' or 'b'"
    """
    return " or ".join(f"'{name}'" for name in names)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
