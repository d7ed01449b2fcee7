from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.methods.fedprox import FedProxSettings
from pfmsmtrec_flwr.methods.reference import settings_markdown

Command = Callable[..., int]


def test_settings_are_listed(pfmsmtrec: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("settings") == 0
    keys = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert {"seed", "train.lr", "federation.tables", "fedprox.mu", "logistic-alone.C", "pf-msmtrec.gates"} <= keys


def test_settings_of_one_method_are_listed(pfmsmtrec: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("settings", "fedhca2") == 0
    printed = capsys.readouterr().out
    assert "fedhca2.alpha" in printed
    assert "train.lr" not in printed
    assert pfmsmtrec("settings", "fedavg") == 0
    assert "The method has no settings of its own." in capsys.readouterr().out


def test_settings_as_a_page(pfmsmtrec: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("settings", "--markdown") == 0
    assert capsys.readouterr().out == settings_markdown()


def test_settings_of_no_method(pfmsmtrec: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("settings", "fedpro") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: unknown method 'fedpro', expected one of base-rate, ")


def test_the_settings_of_a_configuration_are_printed_and_can_be_run(
    pfmsmtrec: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--method", "fedprox", "--seed", "3", "--set", "fedprox.mu=0.5", "--set", "fedprox.train.lr=0.01"]
    assert pfmsmtrec("config", "synthetic", *options) == 0
    printed = capsys.readouterr().out
    path = tmp_path / "printed.yaml"
    path.write_text(printed, encoding="utf-8")
    config = load_config(str(path))
    assert (config.method, config.seed, config.train.lr) == ("fedprox", 3, 0.01)
    assert config.own(FedProxSettings).mu == 0.5
