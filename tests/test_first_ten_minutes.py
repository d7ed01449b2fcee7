"""The notebook of the first ten minutes runs, and keeps the outputs and pictures of a run."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import pfmsmtrec_flwr

pytestmark = pytest.mark.slow

NOTEBOOK = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent / "examples" / "first-ten-minutes.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def shown(notebook: Any) -> list[list[str]]:
    """Kinds of what each code cell shows, streams included."""
    return [
        [kind for output in cell.outputs for kind in sorted(output.get("data", {output.output_type: None}))]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_the_notebook_runs_and_shows_what_it_keeps(home: Path) -> None:
    importlib.import_module("matplotlib.font_manager")  # a new machine's first import reports a cache that it builds
    kept, run = read(), read()
    for cell in run.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(run, timeout=240, resources={"metadata": {"path": str(home)}}).execute()
    assert shown(run) == shown(kept)
    kinds = [kind for cell in shown(run) for kind in cell]
    assert kinds.count("image/png") == 2 and kinds.count("text/html") == 3 and "stream" not in kinds
    assert NOTEBOOK.stat().st_size < 60_000
    (last,) = [cell for cell in run.cells if cell.source.startswith("class Median")]
    assert "median" in last.outputs[0].data["text/plain"]
