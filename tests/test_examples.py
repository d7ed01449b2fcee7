"""The examples in docstrings run, and every public module of the mathematics has one."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import pfmsmtrec_flwr

PACKAGE = Path(pfmsmtrec_flwr.__file__).parent
ROOMS_WITH_EXAMPLES = ("aggregation", "model", "training")
OPTIONAL_PACKAGES = {"jinja2", "lightgbm", "matplotlib", "optuna"}

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
WITH_EXAMPLES = [str(file) for file in FILES if ">>> " in (PACKAGE / file).read_text()]
MATHEMATICS = [
    str(file)
    for file in FILES
    if file.parts[0] in ROOMS_WITH_EXAMPLES and not file.name.startswith("_")  # __init__.py too
]


def module_of(file: str) -> ModuleType:
    """Import a module of the package; its test is skipped where an optional package is missing."""
    try:
        return importlib.import_module(".".join(("pfmsmtrec_flwr", *Path(file).with_suffix("").parts)))
    except ModuleNotFoundError as error:
        if error.name in OPTIONAL_PACKAGES:
            pytest.skip(f"{error.name} is not installed")
        raise


@pytest.mark.parametrize("file", WITH_EXAMPLES)
def test_examples_run(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    runner = doctest.DocTestRunner()
    docstrings = doctest.DocTestFinder(exclude_empty=True).find(module_of(file))
    assert any(docstring.examples for docstring in docstrings), "the module has '>>> ', but no docstring has an example"
    for docstring in docstrings:
        runner.run(docstring, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("file", MATHEMATICS)
def test_a_module_of_the_mathematics_shows_an_example(file: str) -> None:
    docstring = ast.get_docstring(ast.parse((PACKAGE / file).read_text())) or ""
    assert "\nExamples\n--------\n" in docstring, "the module's docstring has no section 'Examples'"
    assert doctest.DocTestParser().get_examples(docstring), "its section 'Examples' has nothing to run"
