"""Report of a comparison or of a run: one page, with its pictures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError

FORMATS = ("svg", "png", "pdf")
"""Formats of the pictures beside the page."""
NEEDED = ("matplotlib", "jinja2")


def write_report(folder: Path, output: Path, figures: Path, formats: Sequence[str]) -> Path:
    """Write the page, the pictures and, in a folder ``tables`` beside the page, the tables.

    Parameters
    ----------
    folder
        Output folder of a comparison, or of a run that has finished.
    output
        File of the page.
    figures
        Folder of the pictures; made if it is missing.
    formats
        Formats of the pictures, some of `FORMATS`; the page contains the pictures in any case.

    Returns
    -------
    Path
        File of the page.

    Raises
    ------
    UserError
        There are no results in the folder, a file is damaged or cannot be written, a format is unknown, or the
        packages that draw are not installed.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise UserError(f"got the format '{unknown[0]}', expected some of {','.join(FORMATS)}")
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"a report needs {' and '.join(missing)}: pip install 'pfmsmtrec-flwr[report]'")
    from pfmsmtrec_flwr.report.page import write_page
    from pfmsmtrec_flwr.report.reading import read_study

    return write_page(read_study(folder), output, figures, formats)
