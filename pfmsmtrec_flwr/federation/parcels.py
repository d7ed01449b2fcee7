"""Small arrays of a record as one array, a parcel, on their way between the processes of Flower.

Flower carries each array of a message as two objects, each by requests of its own from the server to the SuperLink,
to the SuperNode and to the client process, and back. A model has dozens of small arrays. So those of a record travel
as one, in the format of safetensors. Large ones stay as they are: copies of them cost more than requests.

Examples
--------
>>> import torch
>>> from flwr.app import RecordDict
>>> from pfmsmtrec_flwr.federation.parcels import has_parcels, in_parcels, out_of_parcels
>>> from pfmsmtrec_flwr.federation.protocol import pack_tensors
>>> content = RecordDict({"common": pack_tensors({"w": torch.ones(2), "b": torch.zeros(1), "c": torch.zeros(3)})})
>>> sent = in_parcels(content)
>>> list(sent["common"]), has_parcels(sent), has_parcels(content)
(['/parcel'], True, False)
>>> list(out_of_parcels(sent)["common"])
['w', 'b', 'c']
"""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from safetensors import SafetensorError
from safetensors.numpy import load, save

PARCEL = "/parcel"
"""Name of the array that holds the small ones."""
FORMAT = "safetensors"
"""Format of a parcel, as Flower's arrays name theirs."""
TYPES = {"bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64"}
"""Types of the arrays that a parcel may hold."""
SMALL = 1 << 20
"""Number of bytes below which an array is small."""
LONGEST_INDEX = 1 << 18
"""Largest number of bytes of a parcel's names, types and shapes: enough for some two thousand arrays."""

Made = dict[tuple[tuple[str, int], ...], Array]
"""Parcels by the names and the memory of the arrays in them."""


def in_parcels(content: RecordDict, made: Made | None = None) -> RecordDict:
    """Return the records with the small arrays of each as one; all else is the same memory.

    Parameters
    ----------
    content
        Content of a message.
    made
        Parcels of other messages, to which those of new arrays are added: equal ones take memory once.
    """
    made = {} if made is None else made
    return RecordDict(
        {key: _wrapped(record, made) if isinstance(record, ArrayRecord) else record for key, record in content.items()}
    )


def out_of_parcels(content: RecordDict) -> RecordDict:
    """Return the records that `in_parcels` took, arrays in C order; what it cannot have made is left for the reader."""
    return RecordDict(
        {key: _unwrapped(record) if isinstance(record, ArrayRecord) else record for key, record in content.items()}
    )


def has_parcels(content: RecordDict) -> bool:
    """Return whether a record has a parcel."""
    return any(_has_parcel(record) for record in content.array_records.values())


def _has_parcel(record: ArrayRecord) -> bool:
    return PARCEL in record and record[PARCEL].stype == FORMAT


def _wrapped(record: ArrayRecord, made: Made) -> ArrayRecord:
    places = {name: place for place, name in enumerate(record)}
    small = {name: array for name, array in record.items() if len(array.data) < SMALL and array.dtype in TYPES}
    if len(small) < 2 or PARCEL in record:
        return record
    key = tuple((f"{places[name]}/{name}", id(array.data)) for name, array in small.items())
    if key not in made:
        data = save({f"{places[name]}/{name}": np.array(array.numpy(), order="C") for name, array in small.items()})
        if _index_bytes(data) > LONGEST_INDEX:
            return record
        made[key] = Array("uint8", (len(data),), FORMAT, data)
    return ArrayRecord({PARCEL: made[key]} | {name: array for name, array in record.items() if name not in small})


def _unwrapped(record: ArrayRecord) -> ArrayRecord:
    """Return a record with the arrays of its parcel, each at the place that it had."""
    if not _has_parcel(record) or _index_bytes(record[PARCEL].data) > LONGEST_INDEX:
        return record
    try:
        small = load(record[PARCEL].data)
        places = {int(key.partition("/")[0]): key for key in small}
    except (SafetensorError, KeyError, ValueError):  # no such format, a type that NumPy lacks, no number
        return record
    if len(small) < 2 or any(values.nbytes >= SMALL for values in small.values()):
        return record
    arrays = [(name, array) for name, array in record.items() if name != PARCEL]
    for place, key in sorted(places.items()):
        arrays.insert(place, (key.partition("/")[2], Array(small[key])))
    keys = {f"{place}/{name}" for place, (name, _) in enumerate(arrays)}
    named_once = len(dict(arrays)) == len(arrays)
    return ArrayRecord(dict(arrays)) if named_once and small.keys() <= keys else record


def _index_bytes(data: bytes) -> int:
    """Return the number of bytes of a parcel's index, which its first eight bytes hold."""
    return int.from_bytes(data[:8], "little")
