"""Methods in files beside the package: a Python file that defines `METHOD`."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Collection
from dataclasses import replace
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods.base import Method
from pfmsmtrec_flwr.methods.foreign import foreign_method


def is_method_file(reference: str) -> bool:
    """Return whether a configuration's `method` stands for a file instead of a name."""
    return reference.endswith(".py")


def load_method(reference: str, known: Collection[str]) -> Method:
    """Return the method that a Python file defines as `METHOD`.

    Parameters
    ----------
    reference
        Name of a file next to `client_app.py`, or an absolute path.
    known
        Names of the methods that exist already.

    Raises
    ------
    UserError
        The file is missing or cannot be imported, or its `METHOD` is missing, no method, or of a name that cannot be.
    """
    path = _path_of(reference)
    if not path.is_file():
        raise UserError(f"method file {path} does not exist")
    found = getattr(_module(path, path.stat().st_mtime_ns), "METHOD", None)
    if found is None:
        raise UserError(f"method file {path} defines no METHOD: see docs/extending.md")
    method = foreign_method(found, f"method file {path}")
    if method.name in known:
        raise UserError(f"method file {path}: a method '{method.name}' exists already, choose another name")
    return replace(method, file=reference)


def _path_of(reference: str) -> Path:
    path = Path(reference)
    if path.is_absolute():
        return path
    if path.name != reference:
        raise UserError(
            f"method file '{reference}': expected the name of a file next to client_app.py, or an absolute path"
        )
    app = find_spec("client_app")
    if app is None or app.origin is None:
        raise UserError(f"method file '{reference}': there is no client_app.py next to which it could be")
    return Path(app.origin).resolve().parent / reference


@functools.cache
def _module(path: Path, _changed: int) -> ModuleType:
    """Import a file once for each time of its last change."""
    name = f"pfmsmtrec_method_{hashlib.sha256(bytes(path)).hexdigest()[:12]}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"method file {path} is no Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module  # where the annotations of a file's data classes are looked up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"method file {path} cannot be imported: {type(error).__name__}: {reason}") from error
    return module
