from __future__ import annotations

import pytest
from federated import Tiny

from pfmsmtrec_flwr.config import DataSettings
from pfmsmtrec_flwr.data.scenarios import known_scenarios
from pfmsmtrec_flwr.errors import UserError

MADE_UP = DataSettings(synthetic={"train_rows": {"A": 100, "B": 300, "C": 200, "D": 300}, "ctr": 0.3})


def test_the_rows_of_known_scenarios(tiny: Tiny) -> None:
    assert known_scenarios(DataSettings(name="tiny"), tiny.root) == {"ES": 80, "FR": 64, "NL": 96, "US": 48}
    assert known_scenarios(MADE_UP, tiny.root) == {"A": 100, "B": 300, "C": 200, "D": 300}
    with pytest.raises(UserError, match=r"^no prepared data of 'other' in .*: run `pfmsmtrec prepare other"):
        known_scenarios(DataSettings(name="other"), tiny.root)
