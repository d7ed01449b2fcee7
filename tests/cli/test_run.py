from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faked_flower import FakeFlower
from tracked import KeptTracker

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.resume.run_checkpoints import RunBeginning, run_checkpoints
from pfmsmtrec_flwr.methods.configuration import complete, load_config
from pfmsmtrec_flwr.results.folders import claimed

Command = Callable[..., int]


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
    assert re.fullmatch(r"error: .*/out holds the results of a run already: name another --output.*\n", said.err)
    assert said.out == ""
    assert len(flower.calls) == 1


def test_two_runs_do_not_write_to_one_folder(
    pfmsmtrec: Command, flower: FakeFlower, tiny_conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with claimed(Path("out").absolute()):
        assert pfmsmtrec("run", "--conf", tiny_conf, "--output", "out") == 1
        assert pfmsmtrec("compare", tiny_conf, "--output", "out") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: another process writes its results to ") for line in lines)
    assert flower.calls == []


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
        (["--set", "data.name=kuairand"], 1, r"error: no prepared data of 'kuairand' in .*: run `pfmsmtrec prepare .*"),
        (["--set", "federation.scenarios=[XX]"], 1, r"error: scenario XX is not in data 'synthetic', which has ES, .*"),
        (["--set", "federation.scenarios=NL,ES"], 1, r"error: .*got 'NL,ES'; expected a list: write \[NL, ES\]"),
        (["--set", "lr=0.1"], 1, r"error: .*unknown key 'lr'; did you mean 'train\.lr'\?"),
        (["--set", "embeding.dropout=0"], 1, r"error: .*did you mean 'model\.dropout'\?"),
        (["--cpus-per-client", "10000"], 1, r"error: got 10000 CPUs per client, expected at most \d+, which .*"),
        (["--gpus-per-client", "99"], 1, r"error: got 99 GPUs per client, expected at most \d+, which PyTorch .*"),
        (["--set", "train.device=cuda:99"], 1, r"error: train\.device is 'cuda:99', but this process sees \d+ .*"),
        (
            ["--start-from", "nowhere"],
            1,
            r"error: no model of pf-msmtrec in .*/nowhere: give the output folder of a .*",
        ),
        (["--method", "apfl", "--start-from", "x"], 1, r"error: method 'apfl' does not take --start-from: .*"),
        (["--seed", "-1"], 2, r"error: Invalid value for '--seed'.*"),
        (["--bogus"], 2, r"error: No such option.*--bogus.* \(see pfmsmtrec run --help\)"),
        (["--output", "/proc/none"], 1, r"error: cannot write to /proc/none: .*"),
    ],
)
def test_a_mistake_ends_the_command_with_a_line_before_anything_starts(
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


def test_a_method_that_sees_all_rows_runs_inline(
    pfmsmtrec: Command, tiny_conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "data.synthetic={train_rows: {NL: 200, US: 120}, validation_rows: 80, test_rows: 100, ctr: 0.3}"
    options = ["--engine", "inline", "--method", "base-rate", "--set", "federation.reference=[]", "--set", small]
    assert pfmsmtrec("run", "--conf", tiny_conf, *options, "--output", "out", "--data", "data") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("base-rate on synthetic, results in ")
    assert re.search(r"^US +ctr +0\.5000 ", printed, re.MULTILINE)


def test_a_tracker_follows_a_run_and_its_references(
    pfmsmtrec: Command, flower: FakeFlower, tiny_conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = KeptTracker()
    opened: list[tuple[object, ...]] = []

    def open_tracker(*names: object) -> KeptTracker:
        opened.append(names)
        return tracker

    monkeypatch.setattr("pfmsmtrec_flwr.tracking.open_tracker", open_tracker)
    assert pfmsmtrec("run", "--conf", tiny_conf, "--output", "out", "--track", "tensorboard") == 0
    (call,) = flower.calls
    assert opened == [("tensorboard", "out", "synthetic", call["output"])]
    assert "methods.pf-msmtrec.regularization" in tracker.settings
    assert [(step, min(figures)) for step, figures in tracker.figures] == [
        (1, "traffic/down_bytes"),
        (2, "traffic/down_bytes"),
        (2, "test/auc/ctr"),
        (2, "alone/test/auc/ctr"),
    ]
    assert (tracker.files, tracker.failed) == (["config.yaml", "metrics.jsonl", "results.json"], False)


def test_a_run_says_from_which_models_it_starts_and_passes_them_on(
    pfmsmtrec: Command,
    flower: FakeFlower,
    tiny_conf: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pfmsmtrec_flwr.methods.starting.check_start", lambda _config, _data, run: [f"NL: from {run}"])
    assert pfmsmtrec("run", "--conf", tiny_conf, "--start-from", "yesterday", "--output", "out") == 0
    run = tmp_path / "here" / "yesterday"
    assert capsys.readouterr().out.splitlines()[1] == f"NL: from {run}"
    assert flower.calls[0]["run_config"]["start-from"] == str(run)


def broken_off(output: Path, data: str = "/prepared") -> None:
    config = complete(load_config(str(output / "config.yaml")))
    beginning = RunBeginning.of(config, run=7, data=data, start_from="")
    with pytest.raises(KeyboardInterrupt), run_checkpoints(output, beginning, resume=False):
        raise KeyboardInterrupt


def test_a_run_that_is_broken_off_says_how_to_go_on_and_does_so(
    pfmsmtrec: Command,
    flower: FakeFlower,
    tiny_conf: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "here" / "out"
    monkeypatch.setattr("pfmsmtrec_flwr.cli.run.check_data", lambda _config, _data: None)

    def fail(*_: object, **_options: Any) -> None:
        broken_off(output)
        raise UserError("a client was killed")

    monkeypatch.setattr("pfmsmtrec_flwr.launch.engine.run_on_flower", fail)
    assert pfmsmtrec("run", "--conf", tiny_conf, "--seed", "5", "--output", "out") == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f"broken off: pfmsmtrec run --resume {output} goes on"
    assert said.err == "error: a client was killed\n"
    assert pfmsmtrec("run", "--conf", tiny_conf, "--output", "out") == 1
    assert "out holds a run that was broken off: resume it (pfmsmtrec run --resume " in capsys.readouterr().err
    before = (output / "config.yaml").read_text()
    monkeypatch.setattr("pfmsmtrec_flwr.launch.engine.run_on_flower", flower)
    assert pfmsmtrec("run", "--resume", "out") == 0
    (call,) = flower.calls
    named = {"conf": str(output / "config.yaml"), "output": str(output), "resume": str(output)}
    assert call["run_config"] == named | {"data": "/prepared"}
    assert (output / "config.yaml").read_text() == before


@pytest.mark.usefixtures("flower")
def test_what_cannot_be_resumed_ends_the_command_with_a_line(
    pfmsmtrec: Command, tiny_conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "here" / "out"
    output.mkdir(parents=True)
    (output / "config.yaml").write_text(tiny_conf.read_text())
    assert pfmsmtrec("run", "--resume", "out") == 1
    broken_off(output)
    assert pfmsmtrec("run", "--resume", "out", "--conf", tiny_conf) == 1
    assert pfmsmtrec("run", "--resume", "out", "--output", "other") == 1
    (output / "results.json").write_text("{}")
    assert pfmsmtrec("run", "--resume", "out") == 1
    patterns = [
        r"error: no checkpoints in .*/out: there is nothing to resume, start the run anew",
        r"error: --resume goes on with the run's own .*/out/config.yaml: leave out --conf",
        r"error: --resume goes on in the run's own folder .*/out: leave out --output",
        r"error: .*/out holds the results of a finished run: there is nothing to resume",
    ]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(patterns)
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, lines, strict=True)), lines


def test_a_comparison_does_not_start_from_models(
    pfmsmtrec: Command, tiny_conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pfmsmtrec("compare", tiny_conf, "--start-from", "yesterday") == 1
    expected = "error: a comparison starts all its runs anew: --start-from is for pfmsmtrec run\n"
    assert capsys.readouterr().err == expected
