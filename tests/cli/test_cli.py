from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import pfmsmtrec_flwr
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.results.rounds import MetricsLog
from pfmsmtrec_flwr.results.schema import Examples, RunResults, ScenarioResult, TaskResult, results_from
from pfmsmtrec_flwr.results.writer import write_results

Command = Callable[..., int]


def results(method: str, auc: float, reference: tuple[str, ...] = ()) -> RunResults:
    task = TaskResult(auc=auc, logloss=0.25, positives=1, examples=10)
    sizes = Examples(train=8, validation=1, test=1)
    scenario = ScenarioResult(examples=sizes, selected_round=1, tasks={"ctr": task})
    return results_from(
        method=method, dataset="synthetic", seed=5, rounds=2, scenarios={"NL": scenario}, reference=reference
    )


@dataclass
class FakeFlower:
    """Stands for Flower's engine: writes what the server app would."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    fails: BaseException | None = None

    def __call__(
        self, app: Path, run_config: Mapping[str, str], *, output: Path, on_poll: Callable[[], None], **resources: Any
    ) -> None:
        self.calls.append({"app": app, "run_config": dict(run_config), "output": output, **resources})
        if self.fails is not None:
            raise self.fails
        log = MetricsLog(output, method="pf-msmtrec", rounds=2)
        for round_number in (1, 2):
            log.append(round_number, {"NL": {"validation": {"ctr": {"auc": 0.5}}}})
            on_poll()
        write_results(results("pf-msmtrec", 0.75, ("alone",)), output)
        write_results(results("alone", 0.5), output / "alone")


@pytest.fixture
def flower(monkeypatch: pytest.MonkeyPatch) -> FakeFlower:
    fake = FakeFlower()
    monkeypatch.setattr("pfmsmtrec_flwr.launch.engine.run_on_flower", fake)
    monkeypatch.setattr("pfmsmtrec_flwr.launch.app.app_folder", lambda: Path("/the/app"))
    return fake


@pytest.mark.usefixtures("flower")
def test_a_run_prints_its_progress_its_table_and_where_it_is(
    pfmsmtrec: Command, tiny_conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pfmsmtrec("run", "--conf", tiny_conf, "--seed", "5", "--output", "out") == 0
    output = tmp_path / "here" / "out"
    printed = re.sub(r"\d+:\d\d", "0:00", capsys.readouterr().out).splitlines()
    assert printed == [
        f"pf-msmtrec on synthetic, results in {output}",
        "starting Flower, 0:00 elapsed",
        "pf-msmtrec: round 1 of 2, validation AUC ctr 0.5000, 0:00 elapsed, at most 0:00 left",
        "pf-msmtrec: round 2 of 2, validation AUC ctr 0.5000, 0:00 elapsed, at most 0:00 left",
        "pf-msmtrec against alone on synthetic, test data, seed 5, 2 rounds",
        "",
        "                       AUC     AUC    log loss  log loss",
        "scenario  task  pf-msmtrec   alone  pf-msmtrec     alone",
        "--------------------------------------------------------",
        "NL        ctr       0.7500  0.5000      0.2500    0.2500",
        "",
        f"results: {output}",
    ]


def test_the_run_gets_the_configuration_that_was_checked(
    pfmsmtrec: Command, flower: FakeFlower, tiny_conf: Path, tmp_path: Path, home: Path
) -> None:
    options = ["--method", "alone", "--seed", "3", "--set", "train.lr=0.5", "--set", "federation.scenarios=[NL, US]"]
    assert pfmsmtrec("run", "--conf", tiny_conf, *options, "--output", "out", "--num-supernodes", "4") == 0
    (call,) = flower.calls
    output = tmp_path / "here" / "out"
    conf = call["run_config"].pop("conf")
    assert load_config(conf) == load_config(
        str(tiny_conf), method="alone", seed=3, overrides=["train.lr=0.5", "federation.scenarios=[NL, US]"]
    )
    assert call == {
        "app": Path("/the/app"),
        "run_config": {"output": str(output), "data": str(home / ".pfmsmtrec" / "data")},
        "output": output,
        "num_supernodes": 4,
        "cpus_per_client": 1,
        "gpus_per_client": None,
    }


def test_two_nodes_are_the_default_and_a_cpu_run_takes_no_gpu(
    pfmsmtrec: Command, flower: FakeFlower, tiny_conf: Path, tmp_path: Path
) -> None:
    assert pfmsmtrec("run", "--conf", tiny_conf, "--set", "train.device=cpu") == 0
    (call,) = flower.calls
    assert (call["num_supernodes"], call["cpus_per_client"], call["gpus_per_client"]) == (2, 1, 0.0)
    assert call["output"].parent == tmp_path / "here" / "runs"
    assert re.fullmatch(r"tiny-pf-msmtrec-seed0-\d{8}-\d{6}", call["output"].name)


def test_a_finished_run_is_not_overwritten(
    pfmsmtrec: Command, flower: FakeFlower, tiny_conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pfmsmtrec("run", "--conf", tiny_conf, "--output", "out") == 0
    capsys.readouterr()
    assert pfmsmtrec("run", "--conf", tiny_conf, "--output", "out") == 1
    said = capsys.readouterr()
    assert re.fullmatch(r"error: .*/out holds the results of a run already: give another --output.*\n", said.err)
    assert said.out == ""
    assert len(flower.calls) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--conf", "nope"], 1, r"error: conf 'nope' not found: expected one of .*synthetic.*"),
        (["--method", "fedagv"], 1, r"error: unknown method 'fedagv', expected one of .*fedavg.*"),
        (["--method", "pooled-mmoe"], 1, r"error: method 'pooled-mmoe' needs .*: run it with --engine inline, .*"),
        (["--set", "federation.reference=[base-rate]"], 1, r"error: method 'base-rate' needs the rows of all .*"),
        (
            ["--set", "train.lr=fast"],
            1,
            r"error: .*synthetic\.yaml with train\.lr=fast: key 'train\.lr': got 'fast'; .*",
        ),
        (["--set", "train.rl=1"], 1, r"error: .*unknown key 'train\.rl'.*"),
        (["--set", "data.name=kuairand"], 1, r"error: no data 'kuairand' is prepared in .*: `pfmsmtrec prepare .*"),
        (["--seed", "-1"], 2, r"error: Invalid value for '--seed'.*"),
        (["--bogus"], 2, r"error: No such option.*--bogus.*"),
        (["--output", "/proc/none"], 1, r"error: cannot write to /proc/none: .*"),
    ],
)
def test_a_mistake_is_told_in_a_line_before_anything_starts(
    pfmsmtrec: Command,
    flower: FakeFlower,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    assert pfmsmtrec("run", *arguments) == status
    said = capsys.readouterr()
    assert re.fullmatch(message + r"\n", said.err), said.err
    assert said.out == ""
    assert flower.calls == []


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("the scenario\n[NL] is empty"), 1, "error: the scenario [NL] is empty\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (SystemExit(143), 143, ""),
    ],
)
def test_a_run_that_fails_has_an_exit_status(
    pfmsmtrec: Command,
    flower: FakeFlower,
    tiny_conf: Path,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    said: str,
) -> None:
    flower.fails = error
    assert pfmsmtrec("run", "--conf", tiny_conf) == status
    assert capsys.readouterr().err == said


def test_show_prints_the_table_again(pfmsmtrec: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(results("fedavg", 0.625), tmp_path / "out")
    assert pfmsmtrec("show", tmp_path / "out") == 0
    assert "NL        ctr   0.6250    0.2500" in capsys.readouterr().out
    assert pfmsmtrec("show", tmp_path / "out", "--markdown") == 0
    assert "| NL | ctr | 0.6250 | 0.2500 |" in capsys.readouterr().out
    assert pfmsmtrec("show", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: no results.json in ")


def test_methods_are_listed(pfmsmtrec: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("methods") == 0
    rows = [row.split() for row in capsys.readouterr().out.splitlines() if row.strip()]
    families = {row[0]: row[1] for row in rows if len(row) > 1}
    expected = {"alone": "alone", "fedavg": "federated", "pooled-mmoe": "pooled", "base-rate": "floor"}
    assert expected.items() <= families.items()


def test_a_method_that_sees_all_rows_runs_inline(
    pfmsmtrec: Command, tiny_conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "data.synthetic={train_rows: {NL: 200, US: 120}, validation_rows: 80, test_rows: 100, ctr: 0.3}"
    options = ["--engine", "inline", "--method", "base-rate", "--set", "federation.reference=[]", "--set", small]
    assert pfmsmtrec("run", "--conf", tiny_conf, *options, "--output", "out", "--data", "data") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("base-rate on synthetic, results in ")
    assert re.search(r"^US +ctr +0\.5000 ", printed, re.MULTILINE)


def test_data_that_is_not_there(pfmsmtrec: Command, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("data", "list", "--data", data_root) == 0
    assert str(data_root) in capsys.readouterr().out.replace("\n", "")
    assert pfmsmtrec("data", "show", "kuairand", "--data", data_root) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert pfmsmtrec("prepare", "nope", "--source", data_root) == 1
    assert "nope" in capsys.readouterr().err


def test_the_version(pfmsmtrec: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("--version") == 0
    assert capsys.readouterr().out == f"pfmsmtrec {pfmsmtrec_flwr.__version__}\n"


def test_help_answers_without_loading_what_computes() -> None:
    code = (
        "import sys; sys.argv = ['pfmsmtrec', '--help']\n"
        "from pfmsmtrec_flwr.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'flwr', 'ray', 'pandas', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(pfmsmtrec_flwr.__file__).parent.parent)}
    began = time.monotonic()
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "prepare" in answer.stdout
    assert time.monotonic() - began < 5  # 0.35 s on a quiet machine
