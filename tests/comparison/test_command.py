from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

import pytest
from compared import Direct, Fake

from pfmsmtrec_flwr.methods.configuration import load_config

Command = Callable[..., int]
SMALL = "data.synthetic={train_rows: {A: 200}, validation_rows: 60, test_rows: 80, ctr: 0.4}"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    """Trainings that are made up, done in this process."""
    made = Fake(tmp_path / "journal", fails=("fedbn",))

    @contextmanager
    def here(count: int) -> Iterator[Executor]:
        assert count > 0
        yield Direct()

    monkeypatch.setattr("pfmsmtrec_flwr.comparison.workers.workers", here)
    monkeypatch.setattr("pfmsmtrec_flwr.experiment.run_method", made)
    return made


def test_a_comparison_prints_its_tables_and_where_they_are(
    pfmsmtrec: Command, fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--methods", "alone,pf-msmtrec", "--seeds", "2", "--set", SMALL, "--data", tmp_path / "data"]
    assert pfmsmtrec("compare", "synthetic", *options, "--jobs", "3") == 0
    output = tmp_path / "here" / "compare" / "synthetic"
    printed = capsys.readouterr().out.splitlines()
    assert len([line for line in printed if "done, 0:00 elapsed" in line]) == 4
    assert "ctr on made: test AUC, mean over scenarios ± sd over 2 seeds" in printed
    assert any(line.startswith("pf-msmtrec") for line in printed)
    assert printed[-2:] == [
        f"more: pfmsmtrec show {output} --wide, or pfmsmtrec report {output}",
        f"results: {output}",
    ]
    assert (output / "summary.json").is_file()
    assert len(fake.calls) == 4
    assert pfmsmtrec("compare", "synthetic", *options) == 0
    assert len(fake.calls) == 4


def test_what_is_set_holds_for_all_and_is_not_tuned(pfmsmtrec: Command, fake: Fake, tmp_path: Path) -> None:
    options = [
        "--methods",
        "alone,fedavg",
        "--seeds",
        "1",
        "--tune",
        "3",
        "--output",
        "out",
        "--data",
        tmp_path / "data",
    ]
    assert pfmsmtrec("compare", "synthetic", *options, "--set", SMALL, "--set", "train.lr=0.25") == 0
    assert len(fake.calls) == 2 * (3 * 2 + 1)  # trials of two seeds in another world, and a run
    tuned = load_config(str(tmp_path / "here" / "out" / "tuned.yaml")).methods
    assert tuned.keys() == {"alone", "fedavg"}
    assert all("train.lr" not in own for own in tuned.values())
    for _, _, folder in fake.calls:
        assert load_config(f"{folder}/config.yaml").train.lr == 0.25


def test_a_tuning_alone_says_where_its_choice_is_and_goes_on(
    pfmsmtrec: Command, fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--set", SMALL, "--data", tmp_path / "data", "--output", "out", "--tune-only", "--tune-on", "7,8"]
    first = ["--methods", "alone", "--tune", "1"]
    assert pfmsmtrec("compare", "synthetic", *first, *options) == 0
    output = tmp_path / "here" / "out"
    assert capsys.readouterr().out.splitlines()[-1] == f"tuned: {output / 'tuned.yaml'}"
    assert len(fake.calls) == 4
    assert not (output / "runs").exists() and not (output / "summary.json").exists()
    worlds = {load_config(f"{folder}/config.yaml").data.synthetic["seed"] for _, _, folder in fake.calls}
    assert worlds == {7, 8}
    assert pfmsmtrec("compare", "synthetic", "--methods", "fedavg", "--tune", "2", "--tune-seeds", "1", *options) == 0
    assert len(fake.calls) == 4 + 4
    text = (output / "tuned.yaml").read_text()
    assert "best of 1; made-up world 7, made-up world 8, seeds 0, 1" in text
    assert "best of 2; made-up world 7, made-up world 8, seeds 0" in text
    assert load_config(str(output / "tuned.yaml")).methods.keys() == {"alone", "fedavg"}


def test_failures_are_listed_and_are_the_exit_status(
    pfmsmtrec: Command, fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--methods", "alone,fedbn", "--seeds", "1", "--set", SMALL, "--data", tmp_path / "data"]
    assert pfmsmtrec("compare", "synthetic", *options) == 1
    said = capsys.readouterr()
    failed = next(folder for method, _, folder in fake.calls if method == "fedbn")
    assert said.err == f"error: fedbn, {failed}: fedbn does not train\n"
    assert "ctr on made: test AUC" in said.out


def test_an_interrupt_says_how_to_go_on(
    pfmsmtrec: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @contextmanager
    def interrupted(_: int) -> Iterator[Executor]:
        raise KeyboardInterrupt
        yield Direct()

    monkeypatch.setattr("pfmsmtrec_flwr.comparison.workers.workers", interrupted)
    options = ["--methods", "alone", "--set", SMALL, "--data", tmp_path / "data", "--output", "out"]
    assert pfmsmtrec("compare", "synthetic", *options) == 130
    said = capsys.readouterr()
    kept = tmp_path / "here" / "out"
    assert said.out == f"what has finished is kept in {kept}: the same command goes on from there\n"
    assert said.err == "error: interrupted\n"


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nope"], 1, "error: conf 'nope' not found: "),
        (["synthetic", "--methods", "magic"], 1, "error: unknown method 'magic', expected one of "),
        (["synthetic", "--reference", "fedbn"], 1, "error: reference 'fedbn' is not among the methods "),
        (["kuairand"], 1, "error: no prepared data of 'kuairand' in "),
        (["synthetic", "--seeds", "0"], 2, "error: Invalid value for '--seeds'"),
        (["synthetic", "--tuned", "none.yaml"], 1, "error: cannot read none.yaml"),
        (["synthetic", "--tune-only"], 1, "error: got --tune-only without trials, expected a number of them: add "),
        (["synthetic", "--tune", "2", "--tune-on", "0"], 1, "error: --tune-on: got 0, the world that is reported: "),
        (["synthetic", "--tune", "2", "--tune-on", "a"], 1, "error: --tune-on: got 'a', expected the seed of a made-"),
        (["synthetic", "--tune", "2", "--tune-on", "7,7"], 1, "error: --tune-on: got 7,7, expected each name once"),
        ([], 2, "error: Missing argument 'CONF'"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    pfmsmtrec: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    assert pfmsmtrec("compare", *arguments, "--set", SMALL, "--data", tmp_path / "data") == status
    said = capsys.readouterr()
    assert said.err.startswith(message)
    assert said.err.count("\n") == 1
