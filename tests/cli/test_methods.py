from __future__ import annotations

from collections.abc import Callable

import pytest

Command = Callable[..., int]


def test_methods_are_listed(pfmsmtrec: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("methods") == 0
    rows = [row.split() for row in capsys.readouterr().out.splitlines() if row.strip()]
    families = {row[0]: row[1] for row in rows if len(row) > 1}
    expected = {"alone": "alone", "fedavg": "federated", "pooled-mmoe": "pooled", "base-rate": "floor"}
    assert expected.items() <= families.items()
