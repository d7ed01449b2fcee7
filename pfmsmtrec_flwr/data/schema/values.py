"""Types of names and values in a schema, and runs of names such as ``item_{2..5}``."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from pfmsmtrec_flwr.yaml_text import spelling

FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
ColumnName = Annotated[str, Field(min_length=1)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
ScenarioNames = Annotated[tuple[FolderName, ...], Field(strict=False, min_length=1)]


def _as_written(value: Any) -> Any:
    if value is None:
        raise ValueError("expected a value: write it in quotes")
    return str(value).lower() if isinstance(value, bool) else spelling(value)


Scalar = Annotated[str | int | float, BeforeValidator(_as_written)]
"""Value of a column, as it is written: 1.50 is the text ``1.50``, true is the text ``true``."""


def _number_or_word(value: Any) -> Any:
    if value is None:
        raise ValueError("expected a number or a word: write it in quotes")
    if isinstance(value, str):
        with suppress(ValueError):
            return number if math.isfinite(number := float(value)) else value
    return value


NumberOrWord = Annotated[float | str, BeforeValidator(_number_or_word)]
"""Number, or a word in place of one."""
Scalars = Annotated[tuple[Scalar, ...], Field(strict=False)]


def _ascending(numbers: tuple[float, ...]) -> tuple[float, ...]:
    if list(numbers) != sorted(set(numbers)):
        raise ValueError("bands must ascend")
    return numbers


Bands = Annotated[tuple[float, ...], Field(strict=False, min_length=1), AfterValidator(_ascending)]
"""Numbers at which the next band begins."""

_RUN = re.compile(r"\{(\d+)\.\.(\d+)\}")


def expand_run(name: str) -> list[str]:
    """Expand a run such as ``x_{2..5}``; any other name stands for itself.

    >>> expand_run("x_{2..5}")
    ['x_2', 'x_3', 'x_4', 'x_5']
    """
    found = _RUN.search(name)
    if found is None:
        return [name]
    first, last = int(found[1]), int(found[2])
    if first > last:
        raise ValueError(f"'{name}' runs backwards")
    if _RUN.search(name, found.end()) is not None:
        raise ValueError(f"'{name}' has two runs, one is allowed")
    return [f"{name[: found.start()]}{number}{name[found.end() :]}" for number in range(first, last + 1)]


def expand_columns(columns: Any) -> Any:
    """Expand the runs in a mapping of names to sections; ``column`` may be a run of the same length.

    Raises
    ------
    ValueError
        Two runs differ in length, or a name occurs twice.
    """
    if not isinstance(columns, dict):
        return columns  # the type is checked later
    expanded: dict[Any, Any] = {}
    for key, section in columns.items():
        names = expand_run(key) if isinstance(key, str) else [key]
        for name, own in zip(names, _sections(key, section, len(names)), strict=True):
            if name in expanded:
                raise ValueError(f"'{name}' occurs twice")
            expanded[name] = own
    return expanded


def _sections(key: Any, section: Any, count: int) -> list[Any]:
    column = section.get("column") if isinstance(section, dict) else None
    if not isinstance(column, str) or (count == 1 and _RUN.search(column) is None):
        return [section] * count
    columns = expand_run(column)
    if len(columns) != count:
        raise ValueError(f"'{key}' stands for {count} names, its column '{column}' for {len(columns)}")
    return [section | {"column": each} for each in columns]
