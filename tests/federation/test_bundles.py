"""Small arrays of a record as one array: back as they were, and nothing but what `bundled` makes is taken apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save

from pfmsmtrec_flwr.federation.bundles import BUNDLE, FORMAT, SMALL, bundled, is_bundled, unbundled

TYPES = ("bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64")
tensors = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name != BUNDLE),
    st.sampled_from(TYPES).flatmap(
        lambda name: arrays(np.dtype(name), array_shapes(min_dims=0, min_side=0, max_side=3))
    ),
    min_size=1,
    max_size=6,
)


def record_of(tensors: Mapping[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(values) for name, values in tensors.items()})


def bytes_of(content: RecordDict) -> dict[str, list[tuple[str, str, tuple[int, ...], bytes]]]:
    """Names, types, shapes and bytes of the arrays of each record, in their order."""
    return {
        key: [(name, array.dtype, tuple(array.shape), array.data) for name, array in record.items()]
        for key, record in content.array_records.items()
    }


@given(st.dictionaries(st.text(min_size=1), tensors, max_size=3))
def test_all_arrays_come_back_to_the_bit_and_in_order(records: dict[str, dict[str, np.ndarray]]) -> None:
    content = RecordDict({key: record_of(own) for key, own in records.items()})
    content["document"] = ConfigRecord({"text": "x"})
    small = bundled(content)
    assert all(len(record) == 1 for record in small.array_records.values())
    assert is_bundled(small) == any(len(own) > 1 for own in records.values())
    back = unbundled(small)
    assert bytes_of(back) == bytes_of(content)
    assert back["document"] is content["document"]
    assert bytes_of(unbundled(content)) == bytes_of(content)


def test_large_arrays_stay_and_keep_their_places() -> None:
    large = np.zeros(SMALL, dtype=np.uint8)
    own: dict[str, np.ndarray] = {"a": large, "b": np.ones(1), "c": large + 1, "d": np.ones(2), "e": large + 2}
    content = RecordDict({"r": record_of(own)})
    small = bundled(content)
    assert list(small.array_records["r"]) == [BUNDLE, "a", "c", "e"]
    assert small.array_records["r"]["c"].data is content.array_records["r"]["c"].data
    assert bytes_of(unbundled(small)) == bytes_of(content)


def test_one_small_array_needs_no_bundle() -> None:
    content = RecordDict({"r": record_of({"a": np.ones(3)})})
    assert bundled(content)["r"] is content["r"]
    assert not is_bundled(content)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no header",
        save({"0/a": np.ones(2)})[:-3],  # cut off
        save({"a": np.ones(1)}),  # no place
        save({"2/a": np.ones(1)}),  # a place of none
        save({"-1/a": np.ones(1)}),
        save({"0/a": np.ones(1), "00/b": np.ones(1)}),  # a place twice
        save({"0/large": np.ones(1), "1/b": np.ones(1)}),  # the name of another array of the record
        save({"0/a": np.ones(1), "1/a": np.ones(1)}),  # a name twice
        b"\x3b\x00\x00\x00\x00\x00\x00\x00" + b'{"0/a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}   ' + b"\0\0",
    ],
)
def test_an_odd_bundle_is_left_to_the_reader(data: bytes) -> None:
    record = ArrayRecord({BUNDLE: Array("uint8", (len(data),), FORMAT, data), "large": Array(np.ones(2))})
    assert unbundled(RecordDict({"r": record}))["r"] is record
