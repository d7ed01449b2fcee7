"""Calls made by several threads, their results in the order of the calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

T = TypeVar("T")

_MOST_WORKERS = 8  # each holds a block of rows in memory


def in_order(calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Yield the results of calls, of which as many are made at once as there are processors.

    The calls themselves are taken one by one, by the thread that asks for results, at most one more than there are
    threads ahead of it. What a call raises is raised where its result would have come.
    """
    workers = min(max(1, pa.cpu_count()), _MOST_WORKERS)
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="rows") as pool:
        try:
            for call in calls:
                pending.append(pool.submit(call))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
