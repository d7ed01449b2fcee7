"""Names that exist once: public classes and functions in the package, files in their room."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

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
