"""Settings to tune: the same choices for every network, and each method's own."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from itertools import product
from typing import Any

from pfmsmtrec_flwr.config import RunConfig, Settings, Value
from pfmsmtrec_flwr.methods import Method
from pfmsmtrec_flwr.methods.base import Space

COMMON: Space = {
    "train.lr": (0.001, 0.002, 0.004),
    "train.weight_decay": (1e-6, 1e-5, 1e-4),
    "train.batch_size": (256, 512, 1024),
    "model.dropout": (0.1, 0.3),
    "model.embedding_dropout": (0.3, 0.5, 0.6),
}
"""Choices that all networks have."""
ADAGRAD: Space = {"train.embedding_lr": (0.02, 0.05, 0.1)}
"""Choices that all networks have besides, where Adagrad trains the tables."""


def space_of(method: Method, config: RunConfig, pinned: Collection[str] = ()) -> Space:
    """Return a method's choices by key as under ``methods``; the configuration's own value is the first of them.

    Parameters
    ----------
    method
        Method to tune; one that is no network has its own choices only.
    config
        Configuration under which the method runs, as `Method.configure` returns it.
    pinned
        Keys that the user has set, as on the command line: they are not tuned.
    """
    common: Space = {}
    if method.family != "floor":
        common = {**COMMON, **(ADAGRAD if config.train.embedding_optimizer == "adagrad" else {})}
    choices = {
        key: values
        for key, values in {**common, **method.space}.items()
        if key not in method.fixed and not is_pinned(method.name, key, pinned)
    }
    return {key: tuple(dict.fromkeys((value_of(config, key), *values))) for key, values in choices.items()}


def is_pinned(method: str, key: str, pinned: Collection[str]) -> bool:
    """Whether a key as under ``methods`` is among the keys of the command line, which may name the method."""
    return key in pinned or f"{method}.{key}" in pinned


def value_of(config: RunConfig, key: str) -> Value:
    """Return a configuration's value of a key as under ``methods``."""
    if "." not in key:
        return config.methods[config.method][key]
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    if not isinstance(value, str | int | float | bool):
        raise TypeError(f"{key} is {value!r}, which is no single value")
    return value


def size(space: Space) -> int:
    """Return the number of combinations."""
    return math.prod(len(values) for values in space.values())


def combinations(space: Space) -> Iterator[Settings]:
    """Return all combinations; the first of all choices comes first."""
    return (dict(zip(space, values, strict=True)) for values in product(*space.values()))
