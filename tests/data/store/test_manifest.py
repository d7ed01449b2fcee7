"""The format of a store: flat arrays, their checksums, and a manifest that is checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from written_stores import rows, written

from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError


def test_files_are_the_flat_arrays_and_checksums_their_blake2b(tmp_path: Path) -> None:
    found = written(tmp_path / "shop" / "NL")
    data = (found.folder / "train.categorical.bin").read_bytes()
    assert data == rows(0, 12)["categorical"].astype("<i4").tobytes()
    manifest = json.loads((found.folder / "manifest.json").read_text())
    expected = hashlib.blake2b(data, digest_size=16).hexdigest()
    assert manifest["splits"]["train"]["checksums"]["categorical"] == expected


def test_other_version_is_reported_before_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "NL"
    path.mkdir(parents=True)
    (path / "manifest.json").write_text('{"store_version": 0}')
    with pytest.raises(UserError, match="prepared by store version 0, this is 1: prepare again"):
        ScenarioStore.open(path)


@pytest.mark.parametrize("text", ["{", "[]", '{"store_version": 1}'])
def test_damaged_manifest_is_reported(tmp_path: Path, text: str) -> None:
    store = written(tmp_path / "shop" / "NL")
    (store.folder / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json"):
        ScenarioStore.open(store.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda splits: splits.pop("test"), "no split test"),
        (lambda splits: splits["train"]["checksums"].pop("labels"), "array labels missing or unknown"),
        (lambda splits: splits["train"]["checksums"].update(weights="0"), "array weights missing or unknown"),
    ],
)
def test_a_manifest_that_lacks_something_is_reported(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    store = written(tmp_path / "shop" / "NL")
    document = json.loads((store.folder / "manifest.json").read_text())
    change(document["splits"])
    (store.folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=rf"manifest\.json is damaged \({message}\)"):
        ScenarioStore.open(store.path)
