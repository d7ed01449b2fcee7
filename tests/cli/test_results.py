from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from faked_flower import small_results

from pfmsmtrec_flwr.results.writer import write_results

Command = Callable[..., int]


def test_show_prints_the_table_again(pfmsmtrec: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(small_results("fedavg", 0.625), tmp_path / "out")
    assert pfmsmtrec("show", tmp_path / "out") == 0
    assert "NL        ctr   0.6250    0.2500" in capsys.readouterr().out
    assert pfmsmtrec("show", tmp_path / "out", "--markdown") == 0
    assert "| NL | ctr | 0.6250 | 0.2500 |" in capsys.readouterr().out
    assert pfmsmtrec("show", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: no results.json in ")
