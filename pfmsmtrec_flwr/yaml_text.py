"""YAML as people write it: text that YAML 1.1 takes for numbers, dates and truth values stays text.

Examples
--------
>>> import yaml
>>> from pfmsmtrec_flwr.yaml_text import PlainLoader
>>> yaml.load("[NO, 010, 12:30, 2024-01-05, 1e-3, 1_000, true]", Loader=PlainLoader)
['NO', '010', '12:30', '2024-01-05', 0.001, 1000, True]
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class PlainLoader(yaml.SafeLoader):
    """Loader of YAML that refuses a key that repeats, and takes for text what people mean as text.

    Numbers are as in YAML 1.2, with the sign ``_`` between digits. So ``yes``, ``NO``, ``010``, ``12:30`` and
    ``2024-01-05`` are text here; YAML 1.1 has a truth value, an octal number, a number of base 60 and a date.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - none of YAML 1.1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; refuse a key that repeats."""
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is there twice", node.start_mark)
        return mapping


class WrittenInteger(int):
    """Integer with its spelling, such as ``1_000``."""

    text: str


class WrittenFloat(float):
    """Number with its spelling, such as ``1.50``."""

    text: str


def spelling(value: Any) -> Any:
    """Return the spelling of a number that is not Python's, and other values as they are.

    >>> spelling(yaml.load("1.50", Loader=WrittenLoader)), spelling(yaml.load("1.5", Loader=WrittenLoader))
    ('1.50', 1.5)
    """
    if isinstance(value, WrittenInteger):
        return int(value) if str(int(value)) == value.text else value.text
    if isinstance(value, WrittenFloat):
        return float(value) if repr(float(value)) == value.text else value.text
    return value


class WrittenLoader(PlainLoader):
    """Loader whose numbers keep their spelling."""

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Return an integer with its spelling."""
        number = WrittenInteger(self.construct_yaml_int(node))
        number.text = node.value
        return number

    def construct_float(self, node: yaml.ScalarNode) -> float:
        """Return a number with its spelling."""
        number = WrittenFloat(self.construct_yaml_float(node))
        number.text = node.value
        return number


WrittenLoader.add_constructor("tag:yaml.org,2002:int", WrittenLoader.construct_integer)
WrittenLoader.add_constructor("tag:yaml.org,2002:float", WrittenLoader.construct_float)


class PlainDumper(yaml.SafeDumper):
    """Dumper that quotes the text that the loader would take for a number."""


_FLOAT = re.compile(
    r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
for _tag, _form, _first in (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"^[-+]?(?:0|[1-9]\d*(?:_\d+)*)$"), list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", re.compile(r"^<<$"), ["<"]),
):
    PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _form, _first)
PlainDumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
