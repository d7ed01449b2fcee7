from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scoring_shop import shop_schema

from pfmsmtrec_flwr.data.encode.hashes import Buckets, HashedEncoder, LearnedVocabulary
from pfmsmtrec_flwr.data.prepare.kept_values import kept_rows
from pfmsmtrec_flwr.data.prepare.moments import Standardiser
from pfmsmtrec_flwr.data.prepare.scenario_encoder import ScenarioEncoder
from pfmsmtrec_flwr.errors import UserError


def encoder(users: list[int], **fields: Any) -> ScenarioEncoder:
    schema = shop_schema(fields=shop_schema().model_dump(exclude_unset=True)["fields"] | fields)
    encoders: dict[str, HashedEncoder] = {"user": LearnedVocabulary(np.array(users, np.uint64)), "item": Buckets(50)}
    return ScenarioEncoder(schema, "NL", encoders, Standardiser(np.zeros(2), np.ones(2)))


def pairs(field: str, before: ScenarioEncoder, now: ScenarioEncoder) -> dict[int, int]:
    kept = kept_rows(field, before, now)
    return dict(zip(kept.before.tolist(), kept.now.tolist(), strict=True))


def test_a_learned_value_is_found_wherever_it_lies() -> None:
    assert pairs("user", encoder([7, 5, 9]), encoder([5, 4, 7, 3])) == {0: 0, 1: 3, 2: 1}
    assert pairs("user", encoder([]), encoder([5])) == {0: 0}
    assert pairs("user", encoder([5]), encoder([])) == {0: 0}


def test_a_declared_value_is_found_by_its_text() -> None:
    more = {"kind": {"values": ["game", " book", "toy"], "embedding": "federated", "scenarios": ["NL"]}}
    assert pairs("kind", encoder([]), encoder([], **more)) == {0: 0, 1: 3, 2: 2}
    assert pairs("kind", encoder([], **more), encoder([])) == {0: 0, 2: 2, 3: 1}


def test_numbers_and_buckets_have_the_same_rows() -> None:
    grown = {"hour": {"column": "time", "transform": "hour", "identity": {"size": 30}, "embedding": "federated"}}
    for one, other in ((encoder([]), encoder([], **grown)), (encoder([], **grown), encoder([]))):
        assert pairs("hour", one, other) == {row: row for row in range(25)}
    assert pairs("item", encoder([]), encoder([])) == {row: row for row in range(51)}
    assert pairs("age", encoder([]), encoder([])) == {row: row for row in range(4)}


@pytest.mark.parametrize(
    ("field", "section", "message"),
    [
        ("item", {"hash": {"buckets": 50, "seed": 1}, "embedding": "federated"}, "has hash "),
        ("user", {"hash": {"buckets": 50}, "embedding": "local"}, "has encoder hash in the prepared data and vocabul"),
        ("hour", {"column": "time", "identity": {"size": 24}, "embedding": "federated"}, "has transform none in the "),
        ("kind", {"values": ["toy", "book"], "embedding": "local"}, "has embedding local in the prepared data and "),
    ],
)
def test_a_field_that_is_encoded_in_another_way_is_refused(field: str, section: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^field '{field}' of NL {message}"):
        kept_rows(field, encoder([]), encoder([], **{field: section}))
