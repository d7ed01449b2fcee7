"""Several values in one field: split, cut, padded."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pfmsmtrec_flwr.data.encode.encoders import coded
from pfmsmtrec_flwr.data.encode.several import LIST_SEPARATOR, split_values
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection, SeveralSection


def values_of(
    texts: list[str | None], *, missing: tuple[str | int, ...] = (), separator: str | None = "|"
) -> list[str]:
    several = SeveralSection(separator=separator, most=3)
    spec = FieldSection(several=several, missing=missing, embedding="local", values=("a",))
    lists = split_values(coded(pa.array(texts, type=pa.string())), spec, several)
    rows = lists.lookup(np.asarray(lists.values, dtype=object), "-")
    assert rows.shape == (len(texts), 3)
    return [" ".join(row) for row in rows.tolist()]


def test_values_keep_their_order_and_padding_follows() -> None:
    assert values_of(["a|b", "b", None, "c|a|b", "a|b"]) == ["a b -", "b - -", "- - -", "c a b", "a b -"]


def test_values_behind_the_last_place_are_left_out() -> None:
    assert values_of(["a|b|c|d"]) == ["a b c"]


def test_each_value_is_canonical() -> None:
    assert values_of([" 05 | 5.0|x ", "5"]) == ["5 5 x", "5 - -"]


def test_missing_values_take_no_place() -> None:
    assert values_of(["a||0|b", "0", "||"], missing=(0,)) == ["a b -", "- - -", "- - -"]


def test_lists_of_a_file_need_no_separator() -> None:
    assert values_of([LIST_SEPARATOR.join(["a|x", "b"])], separator=None) == ["a|x b -"]


def test_a_separator_is_no_pattern() -> None:
    assert values_of(["a.b", "ab"], separator=".") == ["a b -", "ab - -"]
