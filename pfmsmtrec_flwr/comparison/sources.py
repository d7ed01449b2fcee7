"""Digest of the package's code, to tell runs of other code from those of the present one.

A run's own digest has the package's version but not its code: otherwise each edit would lose all runs.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

import pfmsmtrec_flwr

SOURCES_NAME = "sources.txt"
ASIDE = ("cli", "comparison", "launch", "report", "results", "scoring")
"""Rooms on which no figure of a run depends."""


@cache
def package_sources() -> str:
    """Return the digest of the code on which the figures of runs depend."""
    return digest_of_sources(Path(pfmsmtrec_flwr.__file__).parent)


def digest_of_sources(package: Path) -> str:
    """Return the digest of a package's code, without comments, layout, docstrings and the rooms `ASIDE`."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(package.rglob("*.py")):
        within = path.relative_to(package)
        if within.parts[0] not in ASIDE:
            digest.update(f"{within.as_posix()}\0{_code(path)}\0".encode())
    return digest.hexdigest()


def sources_of(folder: Path) -> str:
    """Return the digest of the code that a run was made by; empty where it is unknown."""
    try:
        return (folder / SOURCES_NAME).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _code(path: Path) -> str:
    """Return a file's code without its strings that stand alone."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not _is_text(each)]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
