"""Settings of the made-up scenarios."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field as Setting
from pydantic import field_validator, model_validator

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import Section

_Rows = Annotated[int, Setting(ge=1)]
_Rate = Annotated[float, Setting(gt=0, lt=1)]
_Dial = Annotated[float, Setting(ge=0, le=1)]
_Strength = Annotated[float, Setting(ge=0, le=10)]

_TRAIN_ROWS = {"NL": 20_000, "ES": 12_000, "FR": 7_000, "US": 4_000}
_CTR = {"NL": 0.07, "ES": 0.08, "FR": 0.09, "US": 0.1}


class SyntheticSettings(Section):
    """Settings of the made-up scenarios; together they determine every row."""

    train_rows: dict[str, _Rows] = Setting(default_factory=lambda: dict(_TRAIN_ROWS), min_length=1)
    """Training impressions of each scenario; its keys are the scenarios."""
    validation_rows: _Rows = 10_000
    """Impressions of each scenario's validation split."""
    test_rows: _Rows = 50_000
    """Impressions of each scenario's test split."""
    scenario_conflict: _Dial = 0.3
    """0: all scenarios share one truth; 1: each has its own, and some are opposed."""
    task_conflict: _Dial = 0.3
    """0: what makes a click makes a conversion after it; 1: they are opposed."""
    ctr: _Rate | dict[str, _Rate] = Setting(default_factory=lambda: dict(_CTR))
    """Clicks per impression: one rate for all scenarios, or one for each."""
    conversions_per_click: _Rate = 0.1
    """Conversions per click: ctcvr is ctr times this rate."""
    click_signal: _Strength = 1.3
    """Standard deviation of the logit of a click; 0: labels are pure chance."""
    conversion_signal: _Strength = 1.1
    """Standard deviation of the logit of a conversion after a click."""
    seed: int = 0
    """Seed of every random draw."""

    @field_validator("train_rows")
    @classmethod
    def _names_are_folders(cls, rows: dict[str, int]) -> dict[str, int]:
        for name in rows:
            if not name or not name[0].isalnum() or not all(sign.isalnum() or sign in "_-." for sign in name):
                raise ValueError(f"{name!r} is no scenario name: use letters, digits, '_', '-' and '.'")
        return rows

    @model_validator(mode="after")
    def _every_scenario_has_a_rate(self) -> SyntheticSettings:
        if isinstance(self.ctr, dict) and (missing := sorted(self.train_rows.keys() - self.ctr.keys())):
            raise ValueError(f"ctr: no rate for {', '.join(missing)}; give each scenario one, or one number for all")
        return self

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Names of the scenarios, sorted."""
        return tuple(sorted(self.train_rows))

    def check_scenario(self, scenario: str) -> None:
        """Refuse the name of an unknown scenario.

        Raises
        ------
        UserError
            `train_rows` does not name it.
        """
        if scenario not in self.train_rows:
            raise UserError(f"no made-up scenario '{scenario}': train_rows names {', '.join(self.scenarios)}")

    def rates(self, scenario: str) -> tuple[float, float]:
        """Return the expected rates of ctr and ctcvr in a scenario."""
        ctr = self.ctr[scenario] if isinstance(self.ctr, dict) else self.ctr
        return ctr, ctr * self.conversions_per_click

    def rows(self, scenario: str, split: str) -> int:
        """Return the number of impressions of a scenario's split."""
        return {
            "train": self.train_rows[scenario],
            "validation": self.validation_rows,
            "test": self.test_rows,
        }[split]
