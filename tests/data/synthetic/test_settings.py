"""Settings: what is wrong is one line."""

from __future__ import annotations

from typing import Any

import pytest
from made_up import small

from pfmsmtrec_flwr.errors import UserError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenario_conflict": 1.5}, "scenario_conflict.*1.5"),
        ({"scenario_conflict": "0.5"}, "scenario_conflict.*'0.5'"),
        ({"task_conflict": -0.1}, "task_conflict"),
        ({"train_rows": {}}, "train_rows"),
        ({"train_rows": {"NL": 0}}, "train_rows.NL"),
        ({"train_rows": {"NL": 10.5}}, "train_rows.NL"),
        ({"train_rows": {"../NL": 10}}, "'../NL' is no scenario name"),
        ({"train_rows": {".NL": 10}}, "'.NL' is no scenario name"),
        ({"test_rows": 0}, "test_rows"),
        ({"ctr": 0.0}, "ctr"),
        ({"ctr": {"NL": 0.1}}, "no rate for US"),
        ({"conversions_per_click": 1.0}, "conversions_per_click"),
        ({"click_signal": -1}, "click_signal"),
        ({"sed": 1}, "unknown key 'sed'; did you mean 'seed'"),
    ],
)
def test_bad_settings_are_reported_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        small(**changes)
    assert "\n" not in str(caught.value)
