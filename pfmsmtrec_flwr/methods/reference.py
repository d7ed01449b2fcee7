"""Every setting with its type, default, range and meaning, read from the code that declares it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pfmsmtrec_flwr.config import SECTIONS, AnnouncedChoice, RunConfig, Value
from pfmsmtrec_flwr.methods import METHODS, Method, find_method
from pfmsmtrec_flwr.methods.base import Range, Space

_KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text", dict: "mapping"}
_PLURALS = {int: "whole numbers", str: "names"}
_SIGNS = (
    (annotated_types.Ge, "ge", "≥"),
    (annotated_types.Gt, "gt", ">"),
    (annotated_types.Le, "le", "≤"),
    (annotated_types.Lt, "lt", "<"),
)
_COMMAND = "pfmsmtrec settings --markdown"


@dataclass(frozen=True, slots=True)
class SettingEntry:
    """One setting, in words.

    Attributes
    ----------
    key
        Key as on the command line.
    kind
        Type of its value.
    default
        Default value, as in YAML.
    limits
        Values that it may have; empty if any value of the type will do.
    meaning
        Description.
    """

    key: str
    kind: str
    default: str
    limits: str
    meaning: str


@dataclass(frozen=True, slots=True)
class SettingGroup:
    """Settings that belong together.

    Attributes
    ----------
    name
        Name of the section or of the method.
    summary
        Description in one line.
    entries
        The settings.
    fixed
        Common settings that the method fixes, by dotted key.
    space
        Values that are tried when the method is tuned, by key.
    """

    name: str
    summary: str
    entries: Sequence[SettingEntry]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    space: Space = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Return the sentences on what is fixed and what is tuned."""
        lines = []
        if self.fixed:
            lines.append("Fixed: " + ", ".join(f"{key} = {yaml_of(value)}" for key, value in self.fixed.items()) + ".")
        if self.space:
            choices = (f"{key} {_choices(values)}" for key, values in self.space.items())
            lines.append("Tuned: " + "; ".join(choices) + ".")
        return lines


def common_groups() -> list[SettingGroup]:
    """Return the settings that hold for every method: those of a run, then a group for each section."""
    run = {name: info for name, info in RunConfig.model_fields.items() if name in ("method", "seed")}
    sections = {name: type(getattr(RunConfig(), name)) for name in SECTIONS}
    return [
        SettingGroup("run", "The method and the seed.", [_entry(name, info) for name, info in run.items()]),
        *(SettingGroup(name, _summary(kind), list(_entries(kind, name))) for name, kind in sections.items()),
    ]


def method_group(name: str) -> SettingGroup:
    """Return the settings that a method has of its own.

    Raises
    ------
    UserError
        There is no such method; the message lists all.
    """
    method = find_method(name)
    return SettingGroup(name, _sentence(method), list(_entries(method.settings, name)), method.fixed, method.space)


def settings_markdown() -> str:
    """Return the page of all settings, as Markdown."""
    groups = [method_group(name) for name in METHODS]
    parts = [
        "# Settings",
        f"This page is made from the code: `{_COMMAND} > docs/settings.md`.",
        "A setting is changed with `--set KEY=VALUE` or in a file of `conf/`. In a file the settings of a method lie "
        "under `methods` and the method's name: there an undotted key is the method's own, and a dotted one overrides "
        "a common setting while that method runs.",
        "```yaml\ntrain: {lr: 0.002}\nmethods:\n  fedprox: {mu: 0.01, train.lr: 0.004}\n```",
        "On the command line the same is `--set train.lr=0.002 --set fedprox.mu=0.01 --set fedprox.train.lr=0.004`.",
        "## Common settings",
        *(_markdown_group(group) for group in common_groups()),
        "## Settings of single methods",
        *(_markdown_group(group) for group in groups if group.entries),
        "## Methods without settings of their own",
        "\n".join(_markdown_fixed(groups)),
    ]
    return "\n\n".join(parts) + "\n"


def yaml_of(value: Any) -> str:
    """Return a value in one line, as YAML has it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _choices(values: tuple[Value, ...] | Range) -> str:
    if isinstance(values, Range):
        return f"from {yaml_of(values.low)} to {yaml_of(values.high)}" + (" (by ratio)" if values.log else "")
    return f"in {', '.join(map(yaml_of, values))}"


def _entries(kind: type[BaseModel], prefix: str) -> Iterator[SettingEntry]:
    return (_entry(f"{prefix}.{name}", info) for name, info in kind.model_fields.items())


def _entry(key: str, info: FieldInfo) -> SettingEntry:
    default = yaml_of(info.get_default(call_default_factory=True))
    meaning = " ".join((info.description or "").split())
    kind = "choice" if _names(info.metadata) else _kind(info.annotation)
    return SettingEntry(key, kind, default, _limits(info.annotation, info.metadata), meaning)


def _kind(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return "choice"
    if origin is tuple:
        return f"list of {_PLURALS[_inner(annotation)[0]]}"
    return _KINDS[origin or annotation]


def _limits(annotation: Any, metadata: Sequence[Any]) -> str:
    if names := get_args(annotation) if get_origin(annotation) is Literal else _names(metadata):
        return ", ".join(names)
    found = [f"{sign} {getattr(each, name)}" for kind, name, sign in _SIGNS for each in metadata if type(each) is kind]
    found += ["not empty" for each in metadata if isinstance(each, annotated_types.MinLen)]
    if get_origin(annotation) is tuple and (inner := _limits(*_inner(annotation))):
        found.append(f"each {inner}")
    return ", ".join(found)


def _names(metadata: Sequence[Any]) -> Sequence[str]:
    """Return the names of this package that a text may be; none if it may be any."""
    return next((each.own for each in metadata if isinstance(each, AnnouncedChoice)), ())


def _inner(annotation: Any) -> tuple[Any, Sequence[Any]]:
    """Return the type of a list's members and their bounds."""
    member = get_args(annotation)[0]
    if get_origin(member) is None:
        return member, ()
    kind, info = get_args(member)
    return kind, info.metadata


def _summary(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _sentence(method: Method) -> str:
    return f"{method.summary[:1].upper()}{method.summary[1:]} ({method.source})."


def _markdown_group(group: SettingGroup) -> str:
    rows = [
        f"| `{entry.key}` | {entry.kind} | `{entry.default}` | {entry.limits} | {entry.meaning} |"
        for entry in group.entries
    ]
    head = ["| key | type | default | range | meaning |", "|---|---|---|---|---|"]
    return "\n\n".join([f"### {group.name}", group.summary, *group.notes(), "\n".join([*head, *rows])])


def _markdown_fixed(groups: Sequence[SettingGroup]) -> Iterator[str]:
    yield "| method | fixed common settings |"
    yield "|---|---|"
    for group in groups:
        if not group.entries:
            fixed = ", ".join(f"`{key}` = `{yaml_of(value)}`" for key, value in group.fixed.items())
            yield f"| {group.name} | {fixed or 'none'} |"
