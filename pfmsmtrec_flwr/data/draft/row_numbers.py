"""Columns that number the rows of a table, from the order of their values."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pfmsmtrec_flwr.data.draft.names import ITEM_WORDS, USER_WORDS, subject
from pfmsmtrec_flwr.data.encode.encoders import coded

_INDEX = re.compile(r"unnamed: ?\d+(_level_\d+)?|__index_level_\d+__|level_\d+")
"""Names that pandas gives to an index."""
_NUMBER_OF_ROW = re.compile(r"index|idx|row|rn|(row|line)[_ ]?(id|nr|no|num|number|index|idx)")

_FEWEST_VALUES = 50
_FEWEST_STEPS = 9
_FEWEST_RISES = 30
_REGULAR = 0.95
_RESTARTS = 30


def is_row_number(name: str, distinct: int, files: Sequence[Sequence[pa.ChunkedArray]]) -> bool:
    """Return whether a column of whole numbers numbers the rows.

    It has the name of an index; or its values rise or fall by one from row to row, perhaps starting anew in each file
    or in some rows; or they rise or fall in every row, as in a table of which rows were left out. A column that is
    called an item's or a user's is none by its values.

    Parameters
    ----------
    name, distinct
        Name of the column, and its number of distinct values.
    files
        Its blocks in the sampled rows of each file.
    """
    lower = name.lower()
    if _INDEX.fullmatch(lower) or (_NUMBER_OF_ROW.fullmatch(lower) and distinct > _FEWEST_VALUES):
        return True
    steps = np.concatenate([np.diff(_numbers(blocks)) for blocks in files])
    if len(steps) < _FEWEST_STEPS or subject(name, (*ITEM_WORDS, *USER_WORDS)) is not None:
        return False
    by_one = max(float(np.mean(steps == step)) for step in (1, -1))
    restarted = distinct > max(_FEWEST_VALUES, len(steps) / _RESTARTS) and by_one >= _REGULAR
    rising = len(steps) >= _FEWEST_RISES and bool((steps > 0).all() or (steps < 0).all())
    return by_one == 1 or restarted or rising


def _numbers(blocks: Sequence[pa.ChunkedArray]) -> npt.NDArray[np.float64]:
    texts = [coded(block) for block in blocks]
    return np.concatenate(
        [each.lookup(np.asarray(pd.to_numeric(each.values, errors="coerce"), np.float64), np.nan) for each in texts]
    )
