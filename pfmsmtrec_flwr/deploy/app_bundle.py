"""Bundles of the app: their hashes, and the list of those that a site lets run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import yaml

import pfmsmtrec_flwr
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.flower_internals import build_bundle
from pfmsmtrec_flwr.launch.app import app_folder
from pfmsmtrec_flwr.validation import load_yaml


def bundle_hash(content: bytes) -> str:
    """Return the SHA-256 of a bundle, as Flower names it."""
    return hashlib.sha256(content).hexdigest()


def own_bundle_hash() -> str:
    """Return the hash of the bundle that this installation would send with a run.

    Raises
    ------
    UserError
        The package was copied without its app.
    """
    return bundle_hash(build_bundle(app_folder()))


def approved_text() -> str:
    """Return the text of a list that holds the bundle of this installation alone."""
    return (
        "# SHA-256 of the app bundles that may run at this site; `pfmsmtrec deploy bundle` prints that of a checkout.\n"
        f'- "{own_bundle_hash()}"  # pfmsmtrec-flwr {pfmsmtrec_flwr.__version__}\n'
    )


def read_approved(path: Path) -> Collection[str]:
    """Return the hashes of a list.

    Raises
    ------
    UserError
        The file cannot be read, or is no list of hashes; an empty list is one that lets nothing run.
    """
    try:
        document = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the approved bundles in {path}: {error}") from None
    hashes = [] if document is None else document
    if not isinstance(hashes, list) or not all(_is_hash(each) for each in hashes):
        raise UserError(f"{path}: expected a list of SHA-256 hashes, a line `- HASH` for each bundle")
    return frozenset(hashes)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")
