"""Buckets and learned vocabularies: hashes to rows, whatever the chunks they came in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.data.encode import hashes as hashing
from pfmsmtrec_flwr.data.encode.encoders import NO_HASH, hash_texts
from pfmsmtrec_flwr.data.encode.hashes import Buckets, HashCounter, Hashes, LearnedVocabulary
from pfmsmtrec_flwr.data.schema.feature_sections import VocabularySection


def hashes(*values: int) -> Hashes:
    return np.array(values, dtype=np.uint64)


def of_texts(*values: str) -> Hashes:
    return hash_texts(np.array(values, dtype=object), 0)


def counter(*chunks: Hashes) -> HashCounter:
    found = HashCounter()
    for chunk in chunks:
        found.add(chunk)
    return found


def learned(*chunks: Hashes, **rule: int) -> LearnedVocabulary:
    return counter(*chunks).vocabulary(VocabularySection(**rule))


def test_buckets_are_the_remainder_plus_one() -> None:
    encoder = Buckets(10)
    assert encoder.size == 11
    assert encoder.rows(hashes(NO_HASH, 1, 9, 10, 2**64 - 1)).tolist() == [0, 2, 10, 1, 6]
    assert encoder.rows(hashes()).tolist() == []
    assert encoder.rows(hashes(1)).dtype == np.int32


def test_buckets_of_texts_are_pinned() -> None:
    """These numbers are part of the format: prepared stores of different sites must agree for ever."""
    assert Buckets(1000).rows(of_texts("a", "5", "ü")).tolist() == [150, 454, 988]


def test_buckets_are_even_and_never_row_0() -> None:
    rows = Buckets(10).rows(of_texts(*map(str, range(20_000))))
    counts = np.bincount(rows, minlength=11)
    assert counts[0] == 0
    assert np.abs(counts[1:] - 2000).max() < 5 * np.sqrt(2000)


def test_values_that_share_a_bucket() -> None:
    assert Buckets(10).colliding(hashes(1, 11, 21, 2, 3, 13)) == 5
    assert Buckets(10).colliding(hashes(1, 2)) == 0
    assert Buckets(10).colliding(hashes()) == 0


def test_by_falling_count_then_by_hash() -> None:
    found = learned(hashes(8, 5, 9, NO_HASH), hashes(9, 8, 5, 9, 3))
    assert found.size == 5
    assert found.rows(hashes(9, 5, 8, 3, 4, NO_HASH, 99)).tolist() == [1, 2, 3, 4, 0, 0, 0]
    assert found.rows(hashes(9)).dtype == np.int32


def test_rare_values_are_left_out_and_the_size_is_bounded() -> None:
    chunk = hashes(1, 1, 2, 2, 3, 3, 3, 4)
    assert learned(chunk, min_count=2).rows(hashes(1, 2, 3, 4)).tolist() == [2, 3, 1, 0]
    assert learned(chunk, max_size=2).rows(hashes(1, 2, 3, 4)).tolist() == [2, 0, 1, 0]
    assert learned(chunk, min_count=9).size == 1


@pytest.mark.parametrize("chunks", [[], [hashes()], [hashes(NO_HASH)]])
def test_a_vocabulary_of_nothing(chunks: list[Hashes]) -> None:
    found = learned(*chunks)
    assert found.size == 1
    assert found.rows(hashes(1, NO_HASH)).tolist() == [0, 0]
    assert counter(*chunks).values().tolist() == []


@given(st.lists(st.lists(st.integers(0, 12), max_size=20), max_size=6), st.integers(0, 10))
def test_the_chunks_do_not_matter(chunks: list[list[int]], fewest: int) -> None:
    joined = [value for chunk in chunks for value in chunk]
    counts = pd.Series([value for value in joined if value != NO_HASH], dtype="int64").value_counts()
    expected = sorted(counts.index, key=lambda value: (-counts[value], value))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_FEWEST_PENDING", fewest)
        found = counter(*(hashes(*chunk) for chunk in chunks))
        assert found.values().tolist() == sorted(counts.index)
        vocabulary = found.vocabulary(VocabularySection())
    assert vocabulary.rows(hashes(*expected)).tolist() == list(range(1, len(expected) + 1))
    assert vocabulary.size == len(expected) + 1


def test_what_waits_is_merged_before_it_grows_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_FEWEST_PENDING", 10)
    found = HashCounter()
    for start in range(0, 1000, 5):
        found.add(np.arange(start + 1, start + 6, dtype=np.uint64))
        assert found._waiting <= max(10, len(found._hashes))
    assert found.values().tolist() == list(range(1, 1001))
