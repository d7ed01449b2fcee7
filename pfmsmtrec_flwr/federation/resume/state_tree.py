"""State as a tree of plain values and tensors: a JSON document, and the tensors beside it.

Dictionaries keep their order and their keys, which may be tuples. Tuples and sets stay what they are, and floats keep
every bit. A tensor that stands in two places is stored once, and stands in both again.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.federation.resume.state_tree import join_state, split_state
>>> document, tensors = split_state({("NL", 1): torch.ones(2), "best": (True, 0.5)})
>>> join_state(document, tensors)
{('NL', 1): tensor([1., 1.]), 'best': (True, 0.5)}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

Document = Any
"""JSON value: a plain value as it is, anything else as an object with one key, its kind."""
Arrays = dict[str, NDArray[Any]]
"""Values of the tensors, by name."""

_PLAIN = (type(None), bool, int, float, str)


def split_state(state: object) -> tuple[Document, Arrays]:
    """Return a JSON document and the tensors that it refers to by name.

    Parameters
    ----------
    state
        Tree of dictionaries, lists, tuples and sets of names, with None, bool, int, float, str and CPU tensors as
        leaves. A key is of the same kinds, without tensors.

    Raises
    ------
    TypeError
        The tree holds something else; the message names its place.
    """
    arrays: Arrays = {}
    names: dict[int, str] = {}

    def split(value: object, place: str) -> Document:
        if type(value) in _PLAIN:
            return value
        if isinstance(value, Tensor):
            if id(value) not in names:
                names[id(value)] = f"{len(names):05d}{place}"
                arrays[names[id(value)]] = np.ascontiguousarray(value.detach().numpy()).reshape(value.shape)
            return {"tensor": names[id(value)]}
        if isinstance(value, Mapping):
            pairs = [[split(key, f"{place}/key"), split(own, f"{place}/{_word(key)}")] for key, own in value.items()]
            return {"mapping": pairs}
        if type(value) in (list, tuple) and isinstance(value, list | tuple):
            members = [split(member, f"{place}/{index}") for index, member in enumerate(value)]
            return {"list" if isinstance(value, list) else "tuple": members}
        if isinstance(value, set) and all(type(member) is str for member in value):
            return {"set": sorted(value)}
        raise TypeError(f"state{place} is a {type(value).__name__}, expected plain values and tensors")

    return split(state, ""), arrays


def join_state(document: Document, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return the tree that `split_state` took apart.

    Raises
    ------
    ValueError
        The document is not one of `split_state`, or one of its tensors is missing.
    """
    tensors: dict[str, Tensor] = {}

    def join(value: Document) -> Any:
        if type(value) in _PLAIN:
            return value
        match value:
            case {"tensor": str(name)} if name in arrays:
                return tensors.setdefault(name, from_numpy(np.array(arrays[name])))
            case {"mapping": list(pairs)}:
                return {join(key): join(own) for key, own in pairs}
            case {"list": list(members)}:
                return [join(member) for member in members]
            case {"tuple": list(members)}:
                return tuple(join(member) for member in members)
            case {"set": list(members)}:
                return set(members)
        raise ValueError(f"{str(value)[:80]} is no part of a state")

    return join(document)


def _word(key: object) -> str:
    """Return a key as a part of a place's name."""
    return "-".join(map(str, key)) if isinstance(key, tuple) else str(key)
