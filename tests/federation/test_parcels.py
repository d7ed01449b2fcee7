"""Small arrays of a record as one array: back as they were, and only what `in_parcels` may have made is opened."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save
from safetensors.torch import save as save_torch

from pfmsmtrec_flwr.federation.parcels import (
    FORMAT,
    LONGEST_INDEX,
    PARCEL,
    SMALL,
    TYPES,
    Made,
    has_parcels,
    in_parcels,
    out_of_parcels,
)

tensors = st.dictionaries(
    st.text(min_size=1) | st.just(PARCEL),
    st.sampled_from(sorted(TYPES)).flatmap(
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
    small = in_parcels(content)
    assert all(len(own) == 1 or PARCEL in own or len(small[key]) == 1 for key, own in records.items())
    assert has_parcels(small) == any(len(own) > 1 and PARCEL not in own for own in records.values())
    back = out_of_parcels(small)
    assert bytes_of(back) == bytes_of(content)
    assert back["document"] is content["document"]
    assert bytes_of(out_of_parcels(content)) == bytes_of(content)


def test_large_arrays_stay_and_keep_their_places() -> None:
    large = np.zeros(SMALL, dtype=np.uint8)
    own: dict[str, np.ndarray] = {"a": large, "b": np.ones(1), "c": large + 1, "d": np.ones(2), "e": large + 2}
    content = RecordDict({"r": record_of(own)})
    small = in_parcels(content)
    assert list(small.array_records["r"]) == [PARCEL, "a", "c", "e"]
    assert small.array_records["r"]["c"].data is content.array_records["r"]["c"].data
    assert bytes_of(out_of_parcels(small)) == bytes_of(content)


def test_one_small_array_needs_no_parcel() -> None:
    content = RecordDict({"r": record_of({"a": np.ones(3)})})
    assert in_parcels(content)["r"] is content["r"]
    assert not has_parcels(content)


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
        save({"0/a": np.ones(1)}),  # one array
        save({"0/a": np.ones(1), "01/b": np.ones(1)}),
        save({"0/a": np.ones(1), "1/b": np.zeros(SMALL, dtype=np.uint8)}),  # not small
        save({f"{place}/{place:0100}": np.ones(1) for place in range(2000)}),  # a long index
        save_torch({"0/a": torch.ones(1, dtype=torch.bfloat16), "1/b": torch.ones(1)}),  # a type that NumPy lacks
    ],
)
def test_an_odd_parcel_is_left_to_the_reader(data: bytes) -> None:
    record = ArrayRecord({PARCEL: Array("uint8", (len(data),), FORMAT, data), "large": Array(np.ones(2))})
    assert out_of_parcels(RecordDict({"r": record}))["r"] is record


def test_equal_arrays_of_several_messages_take_memory_once() -> None:
    own = record_of({"a": np.ones(3), "b": np.ones(2)})
    made: Made = {}
    first, second = (in_parcels(RecordDict({"r": ArrayRecord(dict(own))}), made) for _ in range(2))
    assert first.array_records["r"][PARCEL].data is second.array_records["r"][PARCEL].data
    assert len(made) == 1


def test_a_record_whose_parcel_had_a_long_index_travels_as_it_is() -> None:
    many = record_of({f"{'x' * 100}{place}": np.ones(1) for place in range(LONGEST_INDEX // 150)})
    assert in_parcels(RecordDict({"r": many}))["r"] is many


def test_types_that_the_format_lacks_stay_outside() -> None:
    content = RecordDict({"r": record_of({"a": np.ones(2), "c": np.ones(2, dtype=complex), "b": np.ones(1)})})
    small = in_parcels(content)
    assert list(small.array_records["r"]) == [PARCEL, "c"]
    assert bytes_of(out_of_parcels(small)) == bytes_of(content)
