"""Sizes that scenarios register, compared before the server takes memory for their models."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.training.description import Description


def odd_sizes(descriptions: Sequence[Description], settings: ModelSettings) -> dict[str, str]:
    """Return the reason by name of each scenario whose inputs differ from those of most, or are too large.

    One schema gives all scenarios the same columns and the same federated tables.

    Parameters
    ----------
    descriptions
        Descriptions in the order of the scenarios' names.
    settings
        Settings of the model.
    """
    inputs = [_inputs_of(each) for each in descriptions]
    most, _ = Counter(inputs).most_common(1)[0] if inputs else ((), 0)
    odd = {}
    for each, own in zip(descriptions, inputs, strict=True):
        size, memory = 4 * settings.embedding_dim * sum(each.rows), _memory()
        if size > memory:
            odd[each.scenario] = (
                f"scenario {each.scenario} registers embedding tables of {sum(each.rows)} rows, {size / 2**30:.1f} GiB "
                f"of the server's {memory / 2**30:.1f} GiB: leave it out, or take a smaller model.embedding_dim"
            )
        elif own != most:
            odd[each.scenario] = (
                f"scenario {each.scenario} registers other columns or table sizes than most scenarios, under the same "
                "schema: prepare its data again with the same version"
            )
    return odd


def _inputs_of(description: Description) -> tuple[object, ...]:
    fields = zip(description.fields, description.rows, description.federated, description.columns(), strict=True)
    return description.numeric, *fields


def _memory() -> int:
    """Return the number of bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
