from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from faked_flower import small_results

from pfmsmtrec_flwr.results.summarizing import Finished, summarize
from pfmsmtrec_flwr.results.summary import Described, write_summary
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


def test_show_prints_one_figure_or_all_of_a_run(
    pfmsmtrec: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(small_results("fedavg", 0.625), tmp_path / "out")
    assert pfmsmtrec("show", tmp_path / "out", "--metric", "logloss") == 0
    printed = capsys.readouterr().out
    assert "ctr: log loss on test rows" in printed
    assert "0.2500" in printed
    assert "0.6250" not in printed
    assert pfmsmtrec("show", tmp_path / "out", "--wide") == 0
    assert {"calibration", "0.6250", "0.2500"} <= set(capsys.readouterr().out.replace(",", " ").split())
    assert pfmsmtrec("show", tmp_path / "out", "--wide", "--metric", "auc") == 1
    assert capsys.readouterr().err.startswith("error: got both --wide and --metric auc: ")


def test_show_prints_the_tables_of_a_comparison_again(
    pfmsmtrec: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {name: small_results(name, auc) for name, auc in (("fedavg", 0.625), ("fedbn", 0.75))}
    variants = []
    for name, results in runs.items():
        folder = tmp_path / "runs" / name / "seed5-12345678"
        write_results(results, folder)
        described = Described(
            name=name, method=name, family="federated", parameters="global", settings={}, trials=0, validation=None
        )
        variants.append(Finished(described, {5: results}, {5: folder.relative_to(tmp_path).as_posix()}))
    write_summary(summarize(variants, "fedbn"), tmp_path)
    assert pfmsmtrec("show", tmp_path) == 0
    narrow = capsys.readouterr().out
    assert "test AUC, mean over scenarios" in narrow
    assert "-0.1250" in narrow
    assert all(len(line) <= 80 for line in narrow.splitlines() if line.startswith(("fedavg", "fedbn", "method", "-")))
    assert pfmsmtrec("show", tmp_path, "--wide") == 0
    assert "worst scenario" in capsys.readouterr().out
    assert pfmsmtrec("show", tmp_path, "--metric", "logloss", "--markdown") == 0
    assert "| federated | fedbn |" in capsys.readouterr().out


def test_a_run_is_shown_in_the_columns_that_the_terminal_has(
    pfmsmtrec: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(small_results("fedavg", 0.625), tmp_path / "out")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert pfmsmtrec("show", tmp_path / "out") == 0
    assert "log loss" in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "30")
    assert pfmsmtrec("show", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "test AUC" in printed
    assert "log loss" not in printed
