"""Check of a prepared scenario: its rows are counted block by block, and the counts say what is odd.

It takes memory for the rows of the embedding tables, about 100 bytes each, whatever the number of the scenario's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import accumulate

import numpy as np

from pfmsmtrec_flwr.data.check.alone import BinnedScores, auc_of_bins, auc_of_target_means, target_means
from pfmsmtrec_flwr.data.check.counting import FOLDS, MEAN_BIN, NUMBER_BINS, ColumnCounts, LabelledBlock, number_bins
from pfmsmtrec_flwr.data.check.findings import Finding
from pfmsmtrec_flwr.data.check.odd_columns import CheckedColumn, findings_of
from pfmsmtrec_flwr.data.store.manifest import SPLITS, Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split

_BLOCK_ROWS = 1 << 18


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
    fields = [ColumnCounts(field.size, tasks, FOLDS) for field in store.fields]
    numbers = [ColumnCounts(NUMBER_BINS, tasks, 1) for _ in store.numeric]
    for split, block in _blocks(store):
        for field, counts, start in zip(store.fields, fields, starts, strict=False):
            for column in range(start, start + field.most):
                counts.add(split.categorical[:, column], block)
        for column, counts in enumerate(numbers):
            counts.add(number_bins(split.numeric[:, column]), block)
    found: list[Finding] = []
    for field, counts, start in zip(store.fields, fields, starts, strict=False):
        if field.name not in lacking:
            aucs = _alone(counts, tasks) if field.most == 1 else _several_alone(store, field, counts, start)
            text = (texts or {}).get(field.name, "row {} of its table".format)
            found += findings_of(store, CheckedColumn(field.name, counts, aucs, text, field.most > 1))
    for name, counts in zip(store.numeric, numbers, strict=True):
        if name not in lacking:
            found += findings_of(store, CheckedColumn(name, counts, _number_alone(counts, tasks)))
    return found


def _blocks(store: ScenarioStore) -> Iterator[tuple[Split, LabelledBlock]]:
    for number, name in enumerate(SPLITS):
        split = store.splits[name]
        for start in range(0, len(split), _BLOCK_ROWS):
            rows = split.take(slice(start, start + _BLOCK_ROWS))
            yield rows, LabelledBlock.of(number, start, rows.labels)


def _alone(counts: ColumnCounts, tasks: int) -> list[float]:
    """Return the AUC of a field of one value for each task."""
    return [auc_of_target_means(*counts.of_task(task)) for task in range(tasks)]


def _number_alone(counts: ColumnCounts, tasks: int) -> list[float]:
    """Return the AUC of a number, or of whether it is there, for each task; the lower numbers may be the positive."""
    there = np.arange(NUMBER_BINS) != MEAN_BIN
    found = []
    for task in range(tasks):
        positives, rows = (each[0] for each in counts.of_task(task))
        of_number = auc_of_bins(positives, rows - positives)
        known, all_known = ([each[~there].sum(), each[there].sum()] for each in (positives, rows))
        of_presence = auc_of_bins(np.array(known), np.array(all_known) - known)
        found.append(max(of_number, 1 - of_number, of_presence, 1 - of_presence))
    return found


def _several_alone(store: ScenarioStore, field: Field, counts: ColumnCounts, start: int) -> list[float]:
    """Return the AUC of the highest or the lowest target mean among a row's values for each task."""
    tasks = range(len(store.tasks))
    means = [target_means(*counts.of_task(task)) for task in tasks]
    scores = [(BinnedScores(), BinnedScores()) for _ in tasks]
    for split, block in _blocks(store):
        values = np.asarray(split.categorical[:, start : start + field.most])
        for task in tasks:
            own = np.where(values == 0, np.nan, means[task][block.fold[:, None], values])  # 0 is padding
            for extreme, into in zip((np.fmax, np.fmin), scores[task], strict=True):
                score = np.nan_to_num(extreme.reduce(own, axis=1), nan=float(means[task][0, 0]))
                into.add(score, block.positive[task], block.negative[task])
    return [max(each.auc() for each in pair) for pair in scores]
