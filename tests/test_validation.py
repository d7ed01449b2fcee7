"""Documents become typed objects, or one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import Section, dump_yaml, load_yaml, parse, read_yaml, safe_folder
from pfmsmtrec_flwr.yaml_text import spelling


class Wheel(Section):
    radius: Annotated[float, Field(gt=0)] = 1.0
    colour: str = "black"

    @field_validator("colour")
    @classmethod
    def _not_pink(cls, colour: str) -> str:
        if colour == "pink":
            raise ValueError("No pink wheels")
        return colour


class Car(Section):
    name: str
    seats: int = 4
    open: bool = False
    spare: Wheel | None = None
    wheels: Annotated[tuple[Wheel, ...], Field(strict=False)] = ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "key 'name' is missing"),
        ({"name": "a", "seat": 3}, "unknown key 'seat'; did you mean 'seats'?"),
        ({"name": "a", "zzz": 3}, "unknown key 'zzz'; known keys: name, seats, open, spare, wheels"),
        ({"name": "a", "spare": {"radios": 1.0}}, "unknown key 'spare.radios'; did you mean 'radius'?"),
        ({"name": "a", "wheels": [{"radios": 1.0}]}, "unknown key 'wheels.0.radios'"),
        ({"name": "a", "seats": "4"}, "key 'seats': got '4'; input should be a valid integer"),
        ({"name": "a", "seats": True}, "key 'seats': got True; input should be a valid integer"),
        ({"name": 5}, "key 'name': got 5; input should be a valid string: write it in quotes"),
        ({"name": "a", "spare": {"radius": 0}}, "key 'spare.radius': got 0; input should be greater than 0"),
        ({"name": "a", "spare": {"colour": "pink"}}, "key 'spare.colour': got 'pink'; no pink wheels"),
        ({"seats": "4"}, "key 'name' is missing (and 1 more)"),
        ([], "key '(document)': got []; expected a mapping of keys to values"),
        ({"name": "a", "open": "yes"}, "key 'open': got 'yes'; expected true or false"),
    ],
)
def test_mistakes_in_one_line(document: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(Car, document, "garage.yaml")  # type: ignore[arg-type]
    assert str(caught.value) == f"garage.yaml: {message}"


def test_a_key_below_something_that_is_no_section_gets_no_suggestion() -> None:
    class Loose(Section):
        either: dict[str, Wheel] | None = None

    with pytest.raises(UserError) as caught:
        parse(Loose, {"either": {"left": {"x": 1}}}, "f")
    assert str(caught.value) == "f: unknown key 'either.left.x'"


def test_a_sound_document() -> None:
    car = parse(Car, {"name": "a", "spare": {"radius": 2}, "wheels": [{}, {"colour": "red"}]}, "garage.yaml")
    assert car == Car(name="a", spare=Wheel(radius=2.0), wheels=(Wheel(), Wheel(colour="red")))


def test_sections_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Wheel().radius = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2E+4", -20000.0),
        (".5e1", 5.0),
        ("3.e2", 300.0),
        ("1.5", 1.5),
        ("7", 7),
        ("true", True),
        ("'1e-3'", "1e-3"),
        ("e3", "e3"),
        ("1e", "1e"),
        ("", None),
        ("[1e2, a]", [100.0, "a"]),
        ("1_000", 1000),
        ("-0", 0),
        (".inf", float("inf")),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("0b1", "0b1"),
        ("12:30", "12:30"),
        ("1:30.5", "1:30.5"),
        ("2024-01-05", "2024-01-05"),
        ("2024-01-05 10:00:00Z", "2024-01-05 10:00:00Z"),
        ("[NO, yes, Off, y]", ["NO", "yes", "Off", "y"]),
        ("{NO: on}", {"NO": "on"}),
        ("[=]", ["="]),
        ("[~, null, NULL]", [None, None, None]),
    ],
)
def test_numbers_are_what_people_write(text: str, value: object) -> None:
    loaded = load_yaml(text)
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1.50", "1.50"),
        ("1e5", "1e5"),
        ("1_000", "1_000"),
        ("+7", "+7"),
        ("-0", "-0"),
        ("7", 7),
        ("1.5", 1.5),
        ("a", "a"),
    ],
)
def test_numbers_know_their_spelling_where_asked(text: str, written: object) -> None:
    loaded = load_yaml(text, as_written=True)
    assert loaded == load_yaml(text)
    assert spelling(loaded) == written
    assert type(spelling(loaded)) is type(written)


@given(st.one_of(st.text(max_size=8), st.floats(allow_nan=False), st.integers(), st.booleans(), st.none()))
@example("010")
@example("NO")
@example("2024-01-05")
@example("1_0")
@example(".inf")
def test_what_is_dumped_is_read_back(value: object) -> None:
    for as_written in (False, True):
        assert load_yaml(dump_yaml({"key": [value]}), as_written=as_written) == {"key": [value]}


def test_yaml_cannot_build_objects() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("!!python/object/apply:os.getcwd []")


def test_the_usual_loader_is_left_alone() -> None:
    assert yaml.safe_load("1e-3") == "1e-3"


def test_read_a_mapping_and_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("é: [1, 2]\n", encoding="utf-8")
    assert read_yaml(path) == {"é": [1, 2]}
    path.write_text("# nothing\n")
    assert read_yaml(path) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n", "{path}: got a list, expected a mapping of keys to values"),
        (b"word", "{path}: got a str, expected a mapping of keys to values"),
        (b"a: [", "{path} is not valid YAML: while parsing"),
        (b"\xff\xfe\x00", "{path} is not valid YAML: 'utf-8' codec can't decode"),
        (None, "cannot read {path}: No such file or directory"),
    ],
)
def test_files_that_are_no_mapping(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(message.format(path=path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/etc", "..\\x", ".hidden", "a\nb", "é"])
def test_a_name_cannot_lead_out_of_its_folder(name: str) -> None:
    with pytest.raises(UserError, match="expected letters, digits"):
        safe_folder(Path("/kept"), "fine", name)


def test_plain_names_are_folders() -> None:
    assert safe_folder(Path("/kept"), "pf-msmtrec", "tab_1.a") == Path("/kept/pf-msmtrec/tab_1.a")
