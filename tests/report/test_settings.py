from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reported import RunMaker

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.experiment import write_config
from pfmsmtrec_flwr.report.reading import read_study
from pfmsmtrec_flwr.report.settings import changed_settings, settings_table
from pfmsmtrec_flwr.report.study import ChangedSetting
from pfmsmtrec_flwr.results.tables import FigureTable


def config(**methods: Any) -> RunConfig:
    document = {
        "train": {"lr": 0.002, "threads": 2},
        "federation": {"reference": ["fedprox"], "rounds": 7},
        "methods": methods,
    }
    return RunConfig.model_validate(document)


def rows(table: FigureTable) -> dict[str, list[tuple[str, ...]]]:
    return {group.name: [tuple(cell.text for cell in row) for row in group.rows] for group in table.groups}


def test_settings_of_each_method_of_a_run_as_it_ran(maker: RunMaker, tmp_path: Path) -> None:
    own = maker.results("pf-msmtrec", 0.7, reference=["fedprox"])
    maker.write(own, tmp_path)
    maker.write(maker.results("fedprox", 0.6), tmp_path / "fedprox")
    write_config(config(**{"fedprox": {"mu": 0.5, "train.lr": 0.004}, "pf-msmtrec": {"gates": "federated"}}), tmp_path)
    study = read_study(tmp_path)
    assert study.own == "pf-msmtrec"
    assert rows(settings_table(study)) == {
        "all methods": [("federation.rounds", "7", "20")],
        "fedprox": [("train.lr", "0.004", "0.001"), ("fedprox.mu", "0.5", "0.1")],
        "pf-msmtrec": [("train.lr", "0.002", "0.001"), ("pf-msmtrec.gates", "federated", "local")],
    }


def test_a_folder_without_a_configuration_of_this_version_lists_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert changed_settings(tmp_path / "none", "fedavg") == {}
    write_config(config(), tmp_path)
    assert changed_settings(tmp_path, "fedavg") == {}  # no method of that run
    assert changed_settings(tmp_path, "fedprox") == {
        "train.lr": ChangedSetting("0.002", "0.001"),
        "federation.rounds": ChangedSetting("7", "20"),
    }
    (tmp_path / "config.yaml").write_text("train: {speed: 3}")
    assert changed_settings(tmp_path, "fedprox") == {}
    assert "settings of fedprox are left out: " in caplog.text
