"""Check of a prepared scenario: its rows are counted block by block, and the counts say what is odd.

It takes memory for the rows of the embedding tables, about 70 bytes each, whatever the number of the scenario's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import accumulate

import numpy as np

from pfmsmtrec_flwr.data.check.alone import BinnedScores, auc_of_bins, auc_of_target_means, target_means
from pfmsmtrec_flwr.data.check.counting import (
    FOLDS,
    MEAN_BIN,
    NUMBER_BINS,
    ColumnCounter,
    ColumnCounts,
    LabelledBlock,
    number_bins,
)
from pfmsmtrec_flwr.data.check.findings import Finding
from pfmsmtrec_flwr.data.check.odd_columns import CheckedColumn, findings_of
from pfmsmtrec_flwr.data.store.manifest import SPLITS, Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split

_BLOCK_ROWS = 1 << 18
_EMPTY = 0.5  # score of a row without values


def check_columns(
    store: ScenarioStore, lacking: Collection[str] = (), texts: Mapping[str, Callable[[int], str]] | None = None
) -> list[Finding]:
    """Return the findings of a scenario's fields and numeric columns.

    Parameters
    ----------
    store
        Prepared rows.
    lacking
        Fields and numeric columns that the scenario is declared to lack.
    texts
        Function from a row of a field's table to the value's text, for fields that have one.
    """
    tasks = len(store.tasks)
    starts = list(accumulate((field.most for field in store.fields), initial=0))
    fields = [ColumnCounter(field.size, tasks, FOLDS) for field in store.fields]
    numbers = [ColumnCounter(NUMBER_BINS, tasks, 1) for _ in store.numeric]
    for split, block in _blocks(store):
        for field, counter, start in zip(store.fields, fields, starts, strict=False):
            for column in range(start, start + field.most):
                counter.add(split.categorical[:, column], block)
        for column, counter in enumerate(numbers):
            counter.add(number_bins(split.numeric[:, column]), block)
    found: list[Finding] = []
    for field, counter, start in zip(store.fields, fields, starts, strict=False):
        if field.name not in lacking:
            counts = counter.counts()
            aucs = _alone(counts) if field.most == 1 else _several_alone(store, field, counts, start)
            text = (texts or {}).get(field.name, "row {} of its table".format)
            found += findings_of(store, CheckedColumn(field.name, counts, aucs, text, field.most > 1))
    for name, counter in zip(store.numeric, numbers, strict=True):
        if name not in lacking:
            counts = counter.counts()
            found += findings_of(store, CheckedColumn(name, counts, _number_alone(counts)))
    return found


def _blocks(store: ScenarioStore) -> Iterator[tuple[Split, LabelledBlock]]:
    for number, name in enumerate(SPLITS):
        split = store.splits[name]
        for start in range(0, len(split), _BLOCK_ROWS):
            rows = split.take(slice(start, start + _BLOCK_ROWS))
            yield rows, LabelledBlock.of(number, start, rows.labels)


def _alone(counts: ColumnCounts) -> list[float]:
    """Return the AUC of a field of one value for each task."""
    return [auc_of_target_means(*each) for each in zip(counts.positives, counts.rows, strict=True)]


def _number_alone(counts: ColumnCounts) -> list[float]:
    """Return the AUC of a number, or of whether it is there, for each task; the lower numbers may be the positive."""
    there = counts.values != MEAN_BIN
    found = []
    for positives, rows in zip(counts.positives[:, 0], counts.rows[:, 0], strict=True):
        negatives = rows - positives
        by_presence = [np.array([each[~there].sum(), each[there].sum()]) for each in (positives, negatives)]
        both = (auc_of_bins(positives, negatives), auc_of_bins(*by_presence))
        found.append(max(max(auc, 1 - auc) for auc in both))
    return found


def _several_alone(store: ScenarioStore, field: Field, counts: ColumnCounts, start: int) -> list[float]:
    """Return the AUC of the highest or the lowest target mean among a row's values for each task."""
    tasks = range(len(store.tasks))
    means = np.full((len(tasks), FOLDS, field.size), np.nan)
    for task in tasks:
        means[task][:, counts.values] = target_means(counts.positives[task], counts.rows[task])
    means[:, :, 0] = np.nan  # padding
    scores = [(BinnedScores(), BinnedScores()) for _ in tasks]
    for split, block in _blocks(store):
        values = np.asarray(split.categorical[:, start : start + field.most])
        for task in tasks:
            own = means[task][block.fold[:, None], values]
            positive, negative = np.zeros((2, len(values)))
            positive[block.positive[task]] = 1
            negative[:] = 1 - positive
            negative[block.unlabelled.get(task, [])] = 0
            for extreme, into in zip((np.fmax, np.fmin), scores[task], strict=True):
                into.add(np.nan_to_num(extreme.reduce(own, axis=1), nan=_EMPTY), positive, negative)
    return [max(each.auc() for each in pair) for pair in scores]
