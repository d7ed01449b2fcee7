"""Encoders and moments of a scenario as files: what is read back encodes raw values to the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pfmsmtrec_flwr.data.encode.encoders import hash_texts
from pfmsmtrec_flwr.data.encode.hashes import Buckets, LearnedVocabulary
from pfmsmtrec_flwr.data.prepare.moments import Standardiser
from pfmsmtrec_flwr.data.prepare.scenario_encoder import ScenarioEncoder
from pfmsmtrec_flwr.data.schema.document import DATASETS_FOLDER, DatasetSchema, load_schema
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse

DOCUMENT: dict[str, Any] = {
    "name": "shop",
    "title": "Shop",
    "licence": "ours",
    "url": "none",
    "table": {"files": ["log.csv"]},
    "scenario": {"column": "country", "values": {1: "NL", 2: "ES"}},
    "tasks": {"ctr": "click", "love": {"column": "stars", "at_least": 4}},
    "split": {"random": {"validation": 0.1, "test": 0.1}},
    "fields": {
        "user": {"vocabulary": {}, "embedding": "local"},
        "item": {"hash": {"buckets": 50}, "embedding": "federated"},
        "kind": {"values": ["a", 2], "embedding": "federated", "scenarios": ["ES"]},
        "tags": {"several": {"separator": "|", "most": 2}, "identity": {"size": 9}, "embedding": "federated"},
    },
    "numeric": {"price": {}, "weight": {"scenarios": ["ES"]}},
}
USERS = hash_texts(np.array(["7", "anna", "3"], dtype=object), 0)


def encoder(scenario: str = "NL", **changes: Any) -> ScenarioEncoder:
    schema = parse(DatasetSchema, DOCUMENT | changes, "shop.yaml")
    moments = Standardiser(np.array([0.1, 2.0]), np.array([1 / 3, 4.0]))
    return ScenarioEncoder(schema, scenario, {"user": LearnedVocabulary(USERS), "item": Buckets(50)}, moments)


def derived() -> dict[str, np.ndarray]:
    return {
        "scenario": np.array([0, 0, 0], dtype=np.int16),
        "field:user": np.array([USERS[2], 5, USERS[0]], dtype=np.uint64),
        "field:item": np.array([0, 49, 100], dtype=np.uint64),
        "field:kind": np.array([1, -1, 2], dtype=np.int32),
        "field:tags": np.array([[1, -1], [3, 0], [0, 0]], dtype=np.int32),
        "number:price": np.array([0.1, np.nan, 1.1]),
        "number:weight": np.array([2.0, 6.0, np.nan]),
    }


@pytest.mark.parametrize(("scenario", "kind", "weight"), [("ES", [1, 0, 2], [0, 1, 0]), ("NL", [0, 0, 0], [0, 0, 0])])
def test_values_of_raw_rows(scenario: str, kind: list[int], weight: list[int]) -> None:
    categorical, numeric = encoder(scenario).inputs(derived(), slice(None))
    assert categorical.dtype == np.int32 and numeric.dtype == np.float32
    assert categorical.tolist() == [[3, 0, kind[0], 1, 0], [0, 50, kind[1], 3, 0], [1, 1, kind[2], 0, 0]]
    np.testing.assert_allclose(numeric, [[0, weight[0]], [0, weight[1]], [3, weight[2]]], rtol=1e-6)
    some, _ = encoder(scenario).inputs(derived(), np.array([2]))
    assert some.tolist() == categorical[2:].tolist()


@pytest.mark.parametrize("scenario", ["NL", "ES"])
def test_what_was_saved_encodes_the_same(tmp_path: Path, scenario: str) -> None:
    before = encoder(scenario)
    assert before.save(tmp_path) == ["encoders.json", "schema.yaml", "vocabularies.safetensors"]
    after = ScenarioEncoder.load(tmp_path)
    assert after.schema == before.schema
    assert after.stored_fields() == before.stored_fields()
    for one, other in zip(before.inputs(derived(), slice(None)), after.inputs(derived(), slice(None)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("file", sorted(DATASETS_FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_schema_is_read_back_as_it_was(tmp_path: Path, file: Path) -> None:
    schema = load_schema(file)
    count = len(schema.numeric)
    learned = {
        name: Buckets(spec.hash.buckets) if spec.hash is not None else LearnedVocabulary(USERS)
        for name, spec in schema.fields.items()
        if spec.hash is not None or spec.vocabulary is not None
    }
    ScenarioEncoder(schema, schema.scenarios[0], learned, Standardiser(np.zeros(count), np.ones(count))).save(tmp_path)
    read = ScenarioEncoder.load(tmp_path).schema
    assert read.schema_hash == schema.schema_hash
    assert read == schema and read.model_fields_set == schema.model_fields_set


def test_without_learned_vocabularies_there_is_one_file(tmp_path: Path) -> None:
    fields = {"kind": DOCUMENT["fields"]["kind"]}
    schema = parse(DatasetSchema, DOCUMENT | {"fields": fields, "numeric": {}}, "shop.yaml")
    names = ScenarioEncoder(schema, "ES", {}, Standardiser(np.zeros(0), np.zeros(0))).save(tmp_path)
    assert names == ["encoders.json", "schema.yaml"] == sorted(file.name for file in tmp_path.iterdir())
    categorical, numeric = ScenarioEncoder.load(tmp_path).inputs(derived(), slice(None))
    assert categorical.tolist() == [[1], [0], [2]]
    assert numeric.shape == (3, 0)


def test_missing_damaged_and_later_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no encoders in "):
        ScenarioEncoder.load(tmp_path)
    encoder().save(tmp_path)
    path = tmp_path / "encoders.json"
    document = json.loads(path.read_text())
    for change, message in (
        ({"format": 9}, r"encoders\.json has format 9, this version reads up to 1: install the version that wrote it"),
        ({"fields": []}, r"encoders\.json is damaged or does not belong to its folder"),
        ({"numeric": [["price", 0, 1]]}, r"encoders\.json is damaged or does not belong to its folder"),
    ):
        path.write_text(json.dumps(document | change))
        with pytest.raises(UserError, match=message):
            ScenarioEncoder.load(tmp_path)
    path.write_text("nonsense")
    with pytest.raises(UserError, match=r"encoders\.json is damaged"):
        ScenarioEncoder.load(tmp_path)
    path.write_text(json.dumps(document))
    schema = tmp_path / "schema.yaml"
    text = schema.read_text()
    schema.write_text("name: shop")
    with pytest.raises(UserError, match=r"schema\.yaml: key 'title' is missing"):
        ScenarioEncoder.load(tmp_path)
    schema.write_text(text)
    (tmp_path / "vocabularies.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"is damaged or does not belong to its folder: SafetensorError"):
        ScenarioEncoder.load(tmp_path)
