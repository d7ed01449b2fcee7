"""How far a training on the server has come."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class TrainingProgress:
    """Counts of a training, those of a broken-off run that it goes on with included.

    Attributes
    ----------
    exchanges
        Number of orders so far, by which clients keep their memory.
    aggregated
        Number of exchanges whose updates were aggregated.
    measured
        Whether all rounds are over, and only the test is left.
    counted
        Last exchange of each scenario whose update counted.
    begun
        Time by `time.perf_counter` at which the training began, less the seconds of a broken-off run.
    """

    exchanges: int = 0
    aggregated: int = 0
    measured: bool = False
    counted: dict[str, int] = field(default_factory=dict)
    begun: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Seconds since the training began."""
        return time.perf_counter() - self.begun

    @seconds.setter
    def seconds(self, value: float) -> None:
        self.begun = time.perf_counter() - value
