"""Typed outcome of a paired bootstrap over test users: intervals of the differences between variants."""

from __future__ import annotations

from pydantic import Field

from pfmsmtrec_flwr.results.frame import MEAN
from pfmsmtrec_flwr.results.schema import Figure
from pfmsmtrec_flwr.validation import Section


class PairedDifference(Section):
    """AUC of a variant less that of another one in a task, with the same test users drawn for both."""

    variant: str
    other: str
    task: str
    scenario: str = MEAN
    """Scenario of the difference; empty for the mean over scenarios."""
    seeds: int
    """Number of seeds that both have; the AUC is averaged over them before it is compared."""
    difference: float
    low: float
    high: float
    """Ends of the 95 % interval."""
    error: float
    """Standard error of the difference over draws of users."""
    p: float
    """p that there is no difference, two-sided, by the normal distribution with this standard error."""
    p_holm: Figure = None
    """The same for a difference to the reference, corrected for the number of variants and tasks."""

    @property
    def reversed(self) -> PairedDifference:
        """The difference of the other variant to this one."""
        turned = {"variant": self.other, "other": self.variant, "difference": -self.difference}
        return self.model_copy(update={**turned, "low": -self.high, "high": -self.low})

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


class Leaders(Section):
    """Variants in the lead: the first by AUC, and all whose interval of the difference to it contains 0."""

    task: str
    scenario: str = MEAN
    variants: list[str]
    """Names; empty if the interval of every variant contains 0, so that none leads."""


class Bootstrap(Section):
    """Outcome of a paired bootstrap: users are drawn once for all scenarios, variants and seeds."""

    draws: int
    units: int
    """Number of units that are drawn with replacement."""
    unit: str
    """Kind of unit: users, or rows where no users are known."""
    differences: list[PairedDifference]
    """Differences to the reference, to training alone, and to the first of each scenario and task."""
    leaders: list[Leaders]
    smallest: dict[str, float]
    """Smallest difference to the reference that the test rows can show, by task: 2.8 standard errors, for 80 % power at
    5 %; the median over variants."""
    missing: list[str] = Field(default_factory=list)
    """Variants without an interval, as a run of theirs left no predictions."""

    def difference(self, variant: str, other: str, task: str, scenario: str = MEAN) -> PairedDifference | None:
        """Return the difference of a variant to another one; None if it was not computed."""
        key = (variant, other, task, scenario)
        found = (each for each in self.differences if (each.variant, each.other, each.task, each.scenario) == key)
        return next(found, None)

    def leading(self, task: str, scenario: str = MEAN) -> tuple[str, ...]:
        """Return the variants in the lead; none if nobody leads."""
        found = (each.variants for each in self.leaders if (each.task, each.scenario) == (task, scenario))
        return tuple(next(found, ()))
