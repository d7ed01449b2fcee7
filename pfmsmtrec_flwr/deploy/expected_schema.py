"""Schema under which the data of a planned run must have been prepared."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pfmsmtrec_flwr.data.schema.document import load_schema
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError

SHOWN_SIGNS = 8
"""Signs of a schema's hash that are shown for people, and the fewest by which it may be named."""

_HASH = re.compile(rf"[0-9a-f]{{{SHOWN_SIGNS},64}}")


def expected_schema(text: str, negatives: int | None = None) -> str:
    """Return the hash of a named schema; a hash, or the beginning of one, is returned as it is.

    Parameters
    ----------
    text
        Hash of a schema, or at least its first eight signs; else the name of a schema or the path of its file.
    negatives
        Replacement for `negatives.per_positive` of a named schema.

    Raises
    ------
    UserError
        The text is neither, or the schema is not valid.
    """
    return text if _HASH.fullmatch(text) else load_schema(text, negatives=negatives).schema_hash


def refuse_other_schemas(stores: Sequence[ScenarioStore], expected: str) -> None:
    """Refuse scenarios none of whose stores was prepared under the expected schema.

    Parameters
    ----------
    stores
        Stores of the scenarios, those of several data sets where there are.
    expected
        Hash of the schema, or its beginning.

    Raises
    ------
    UserError
        A scenario is prepared under other schemas only, or there is none.
    """
    hashes: dict[str, list[str]] = {}
    for store in stores:
        hashes.setdefault(store.scenario, []).append(store.schema_hash)
    for scenario, own in hashes.items():
        if not any(each.startswith(expected) for each in own):
            raise UserError(
                f"scenario {scenario} was prepared under schema {', '.join(each[:SHOWN_SIGNS] for each in own)}, and "
                f"{expected[:SHOWN_SIGNS]} is expected: prepare it again from the schema file and version of the run"
            )
    if not hashes:
        raise UserError(f"nothing is prepared, and schema {expected[:SHOWN_SIGNS]} is expected")
