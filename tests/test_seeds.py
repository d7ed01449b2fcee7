"""Seeds from words and numbers."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.seeds import derive_seed

PARTS = st.lists(
    st.integers() | st.text(st.characters(exclude_characters="\x1f", codec="utf-8")), min_size=1, max_size=4
)


def test_the_value_is_fixed_for_all_time() -> None:
    digest = hashlib.blake2b(b"int:0\x1fstr:shuffle", digest_size=8).hexdigest()
    assert derive_seed(0, "shuffle") == int(digest, 16) // 2


@given(PARTS)
def test_it_fits_63_bits_and_is_repeatable(parts: list[int | str]) -> None:
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**63
    assert derive_seed(*parts) == seed


@given(PARTS, PARTS)
def test_other_parts_give_another_seed(first: list[int | str], second: list[int | str]) -> None:
    assert (derive_seed(*first) == derive_seed(*second)) == (first == second)


def test_kind_and_borders_of_the_parts_count() -> None:
    seeds = {derive_seed(1, "2"), derive_seed("1", 2), derive_seed(12), derive_seed("12"), derive_seed(2, 1)}
    assert len(seeds) == 5
