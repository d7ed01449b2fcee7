from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., int]


def test_data_that_is_not_there(pfmsmtrec: Command, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("data", "list", "--data", data_root) == 0
    assert str(data_root) in capsys.readouterr().out.replace("\n", "")
    assert pfmsmtrec("data", "show", "kuairand", "--data", data_root) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert pfmsmtrec("prepare", "nope", "--source", data_root) == 1
    assert "nope" in capsys.readouterr().err
