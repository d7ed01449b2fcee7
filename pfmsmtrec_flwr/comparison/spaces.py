"""Settings to tune: the same choices for every network, and each method's own.

The number of rounds is a ceiling, not a choice: all trials have the rounds and the patience of the configuration.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from itertools import product
from typing import Any

from pfmsmtrec_flwr.config import RunConfig, Settings, Value
from pfmsmtrec_flwr.methods import Method
from pfmsmtrec_flwr.methods.base import Range, Space

COMMON: Space = {
    "train.lr": Range(0.0005, 0.016, log=True),
    "train.min_steps": (0, 24),
    "train.weight_decay": (0.0, 1e-6, 1e-5, 1e-4),
    "train.ema_decay": (0.0, 0.5, 0.7, 0.9),
    "model.dropout": Range(0.0, 0.5),
    "model.embedding_dropout": Range(0.0, 0.7),
}
"""Choices that all networks have, whatever the configuration."""
ADAGRAD: Space = {"train.embedding_lr": Range(0.01, 0.2, log=True)}
"""Choices that all networks have besides, where Adagrad trains the tables."""
ROUNDS: Space = {"train.optimizer_state": ("keep", "reset")}
"""Choices of networks whose training is cut into rounds; a pooled model's optimizer is never reset."""


def space_of(method: Method, config: RunConfig, pinned: Collection[str] = ()) -> Space:
    """Return a method's choices by key as under ``methods``.

    The configuration's own value is among them, and is the first where they are listed.

    Parameters
    ----------
    method
        Method to tune; one that is no network has its own choices only.
    config
        Configuration under which the method runs, as `Method.configure` returns it.
    pinned
        Keys that the user has set, as on the command line: they are not tuned.
    """
    choices = {
        key: values
        for key, values in {**_common(method, config), **method.space}.items()
        if key not in method.fixed and not is_pinned(method.name, key, pinned)
    }
    return {key: _with_own(values, value_of(config, key)) for key, values in choices.items()}


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


def own_settings_in(space: Space, config: RunConfig) -> Settings:
    """Return the configuration's own values of the keys of a space."""
    return {key: value_of(config, key) for key in space}


def size(space: Space) -> float:
    """Return the number of combinations; infinity if there is a range."""
    return math.prod(math.inf if isinstance(values, Range) else len(values) for values in space.values())


def combinations(space: Space) -> Iterator[Settings]:
    """Return all combinations of a space without ranges; the first of all choices comes first."""
    listed = [values for values in space.values() if not isinstance(values, Range)]
    return (dict(zip(space, values, strict=True)) for values in product(*listed))


def _common(method: Method, config: RunConfig) -> Space:
    if method.family == "floor":
        return {}
    train = config.train
    near: Space = {
        "train.batch_size": (max(2, train.batch_size // 2), train.batch_size * 2),
        "train.local_epochs": (train.local_epochs / 2, train.local_epochs * 2),
    }
    adagrad = ADAGRAD if train.embedding_optimizer == "adagrad" else {}
    rounds = {} if method.family == "pooled" else ROUNDS
    return {**COMMON, **near, **adagrad, **rounds}


def _with_own(values: tuple[Value, ...] | Range, own: Value) -> tuple[Value, ...] | Range:
    if not isinstance(values, Range):
        return tuple(dict.fromkeys((own, *values)))
    if isinstance(own, str):
        raise TypeError(f"{own!r} is no number, and so in no range")
    return values.including(own)
