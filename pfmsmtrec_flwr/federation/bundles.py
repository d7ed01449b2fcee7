"""Small arrays of a record as one array, on their way between the processes of Flower.

Flower carries each array of a message as two objects, each by requests of its own from the server to the SuperLink,
to the SuperNode and to the client process, and back. A model has dozens of small arrays. So those of a record travel
as one, in the format of safetensors. Large ones stay as they are: copies of them cost more than requests.

Examples
--------
>>> import torch
>>> from flwr.app import RecordDict
>>> from pfmsmtrec_flwr.federation.bundles import bundled, is_bundled, unbundled
>>> from pfmsmtrec_flwr.federation.protocol import pack_tensors
>>> content = RecordDict({"common": pack_tensors({"w": torch.ones(2), "b": torch.zeros(1), "c": torch.zeros(3)})})
>>> small = bundled(content)
>>> list(small["common"]), is_bundled(small), is_bundled(content)
(['bundle'], True, False)
>>> list(unbundled(small)["common"])
['w', 'b', 'c']
"""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from safetensors import SafetensorError
from safetensors.numpy import load, save

BUNDLE = "bundle"
"""Name of the array that holds the small ones; it has no dot, as the names of a model's parameters have."""
SMALL = 1 << 20
"""Number of bytes below which an array is small."""
FORMAT = "safetensors"
"""Format of the bundle, as Flower's arrays name theirs."""


def bundled(content: RecordDict) -> RecordDict:
    """Return the records with the small arrays of each as one, in their order; all else is the same memory."""
    return RecordDict(
        {key: _bundle(record) if isinstance(record, ArrayRecord) else record for key, record in content.items()}
    )


def unbundled(content: RecordDict) -> RecordDict:
    """Return the records that `bundled` took; a bundle that it cannot have made is left for the reader to refuse."""
    return RecordDict(
        {key: _unbundle(record) if isinstance(record, ArrayRecord) else record for key, record in content.items()}
    )


def is_bundled(content: RecordDict) -> bool:
    """Return whether a record holds a bundle."""
    return any(BUNDLE in record for record in content.array_records.values())


def _bundle(record: ArrayRecord) -> ArrayRecord:
    small = {name: place for place, (name, array) in enumerate(record.items()) if len(array.data) < SMALL}
    if len(small) < 2:
        return record
    data = save({f"{place}/{name}": np.array(record[name].numpy(), order="C") for name, place in small.items()})
    large = {name: array for name, array in record.items() if name not in small}
    return ArrayRecord({BUNDLE: Array("uint8", (len(data),), FORMAT, data), **large})


def _unbundle(record: ArrayRecord) -> ArrayRecord:
    """Return a record with the small arrays of its bundle, each at the place that it had."""
    if BUNDLE not in record:
        return record
    try:
        found = [(*key.partition("/")[::2], Array(values)) for key, values in load(record[BUNDLE].data).items()]
        small = {int(place): (name, array) for place, name, array in found}
    except (SafetensorError, KeyError, ValueError):  # no such format, a type that NumPy lacks, no number
        return record
    large = [(name, array) for name, array in record.items() if name != BUNDLE]
    names = {name for name, _ in (*small.values(), *large)}
    if (
        len(names) < len(found) + len(large)
        or len(small) < len(found)
        or not all(0 <= place < len(names) for place in small)
    ):
        return record
    rest = iter(large)
    return ArrayRecord(dict(small[place] if place in small else next(rest) for place in range(len(names))))
