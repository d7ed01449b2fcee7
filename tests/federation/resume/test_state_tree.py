from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.federation.resume.state_tree import join_state, split_state
from pfmsmtrec_flwr.model import Part

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
keys = plain | st.tuples(plain, plain)
trees = st.recursive(
    plain, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner), max_leaves=8
)


@given(trees)
def test_plain_values_survive_the_journey_with_their_types(tree: object) -> None:
    document, arrays = split_state(tree)
    back = join_state(json.loads(json.dumps(document)), arrays)
    assert repr(back) == repr(tree)  # 1 and True and 1.0 are equal, and must not take each other's place
    assert arrays == {}


def test_tensors_keep_every_bit_their_shape_and_their_type() -> None:
    own = torch.tensor([0.1, -0.0, math.inf, math.nan])
    state: dict[object, Any] = {
        ("NL", ("ctr", 0)): own,
        "count": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "turned": torch.arange(6.0).view(2, 3).T,
        "double": torch.ones(2, dtype=torch.float64),
        "flags": (torch.tensor([True, False]), True),
    }
    back = join_state(*split_state(state))
    assert list(back) == list(state)
    assert torch.equal(back["NL", ("ctr", 0)].view(torch.int32), own.view(torch.int32))
    for name in ("count", "none", "turned", "double"):
        assert torch.equal(back[name], state[name])
        assert back[name].dtype == state[name].dtype
    assert back["flags"][1] is True
    back["count"] += 1  # what comes back may be changed in place
    assert back["count"].item() == 8


def test_sets_of_names_stay_sets() -> None:
    assert join_state(*split_state({"missing": {"NL", "ES"}})) == {"missing": {"NL", "ES"}}


def test_a_tensor_in_two_places_is_stored_once() -> None:
    shared = torch.ones(3)
    document, arrays = split_state({"a": shared, "b": [shared]})
    assert list(arrays) == ["00000/a"]
    back = join_state(document, arrays)
    assert back["a"] is back["b"][0]


@pytest.mark.parametrize("value", [{1, 2}, Part.GATE, b"x", torch.float32, object()])
def test_what_is_no_plain_value_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(TypeError, match=r"^state/memory/0 is a .*, expected plain values and tensors"):
        split_state({"memory": [value]})


@pytest.mark.parametrize("document", [{"tensor": "gone"}, {"bag": []}, {"tuple": 1}, [1], {}])
def test_a_document_that_is_none_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="is no part of a state"):
        join_state(document, {})
