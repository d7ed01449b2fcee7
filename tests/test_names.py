"""Names: public ones exist once in the package, files once in their room, and dotted ones in docstrings exist."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import pfmsmtrec_flwr

PACKAGE = Path(pfmsmtrec_flwr.__file__).parent

# Public names that are defined more than once. This list must shrink: rename one of the two, and remove the entry.
DOUBLE_NAMES: set[str] = set()

# Files whose name exists more than once in their room. This list must shrink as well.
DOUBLE_FILES: set[str] = set()


def public_names(folder: Path) -> dict[str, list[str]]:
    """Files that define each public class or function at the top level; commands of the command line are left out."""
    files: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        for name in _definitions(ast.parse(path.read_text())):
            files[name].append(str(path.relative_to(folder)))
    return files


def _definitions(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not node.name.startswith("_") and not any(_is_command(decorator) for decorator in node.decorator_list):
            yield node.name


def _is_command(decorator: ast.expr) -> bool:
    """Whether a decorator is ``@app.command(...)``: such a function has the name of its command."""
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(call, ast.Attribute) and call.attr == "command"


def room_files(folder: Path) -> dict[str, list[str]]:
    """Files of each name within a room, that is a top-level folder with all its folders, as ``room/name``."""
    files: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        within = path.relative_to(folder)
        if len(within.parts) > 1 and within.name != "__init__.py":
            files[f"{within.parts[0]}/{within.name}"].append(str(within))
    return files


def doubles(places: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: files for name, files in places.items() if len(files) > 1}


def test_each_public_class_and_function_has_a_name_of_its_own() -> None:
    found = {name: files for name, files in doubles(public_names(PACKAGE)).items() if name not in DOUBLE_NAMES}
    assert not found, f"public names that are defined more than once: {found}"


def test_each_file_has_a_name_of_its_own_in_its_room() -> None:
    found = {name: files for name, files in doubles(room_files(PACKAGE)).items() if name not in DOUBLE_FILES}
    assert not found, f"file names that exist more than once in a room: {found}"


def test_each_exception_is_still_double() -> None:
    stale = DOUBLE_NAMES - doubles(public_names(PACKAGE)).keys() | DOUBLE_FILES - doubles(room_files(PACKAGE)).keys()
    assert not stale, f"exist once by now, so remove them from the lists of exceptions: {sorted(stale)}"


def test_the_search_finds_doubles_of_nested_rooms(tmp_path: Path) -> None:
    sources = {
        "cli.py": "@app.command()\ndef run(): ...\n",
        "one/a.py": "class Row: ...\ndef run(): ...\ndef _private(): ...\n",
        "one/inner/a.py": "def _private(): ...\n",
        "two/a.py": "async def Row(): ...\n",
    }
    for name, source in sources.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    assert doubles(public_names(tmp_path)) == {"Row": ["one/a.py", "two/a.py"]}
    assert doubles(room_files(tmp_path)) == {"one/a.py": ["one/a.py", "one/inner/a.py"]}


DOTTED = sorted(
    {
        (name, file.name)
        for file in PACKAGE.rglob("*.py")
        for name in re.findall(r"`(pfmsmtrec_flwr(?:\.\w+)+)`", file.read_text())
    }
)


@pytest.mark.parametrize(("name", "file"), DOTTED)
def test_what_a_docstring_refers_to_by_its_dotted_name_exists(name: str, file: str) -> None:
    parts = name.split(".")
    length = next(count for count in range(len(parts), 0, -1) if find_module(".".join(parts[:count])))
    found: object = importlib.import_module(".".join(parts[:length]))
    for part in parts[length:]:
        assert hasattr(found, part), f"{file}: {name}"
        found = getattr(found, part)


def find_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the name goes on below a module that is no package
        return False
