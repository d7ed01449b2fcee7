"""Parallel calls whose results keep the order of the calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

T = TypeVar("T")

_MOST_WORKERS = 8  # each holds a block of rows in memory


def in_order(calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Yield the results of calls that run in as many threads as there are processors.

    The thread that asks for results takes the calls one by one, and is ahead of the results by at most one call more
    than there are threads. An exception of a call is raised in place of its result.
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
