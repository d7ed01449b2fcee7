from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from click import Command as ClickCommand
from click import Group

import pfmsmtrec_flwr
from pfmsmtrec_flwr.cli.entry import app

Command = Callable[..., int]


def test_the_version(pfmsmtrec: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("--version") == 0
    assert capsys.readouterr().out == f"pfmsmtrec {pfmsmtrec_flwr.__version__}\n"


def test_a_command_without_arguments_is_asked_for_help(pfmsmtrec: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec() == 0
    said = capsys.readouterr()
    assert "prepare" in said.out
    assert said.err == ""
    assert pfmsmtrec("data") == 0
    said = capsys.readouterr()
    assert "init" in said.out
    assert said.err == ""


def test_the_package_runs_as_a_module() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "pfmsmtrec_flwr", "--version"], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout) == (0, f"pfmsmtrec {pfmsmtrec_flwr.__version__}\n")


def test_every_argument_and_option_has_a_help() -> None:
    silent = [
        f"{command.name} {parameter.name}"
        for command in _commands(typer.main.get_command(app))
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []


def _commands(command: ClickCommand) -> Iterator[ClickCommand]:
    yield command
    if isinstance(command, Group):
        for member in command.commands.values():
            yield from _commands(member)


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


def test_windows_is_refused_in_one_line(
    pfmsmtrec: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert pfmsmtrec("methods") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "error: pfmsmtrec runs on Linux, and this is win32, which lacks POSIX locks and signals: "
        "use Linux, or Windows Subsystem for Linux\n"
    )


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_platforms_with_posix_are_not_refused(
    pfmsmtrec: Command, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert pfmsmtrec("--version") == 0


def test_the_refusal_needs_nothing_that_the_platform_lacks() -> None:
    code = (
        "import signal, sys\n"
        "sys.modules['fcntl'] = None; del signal.SIGHUP\n"
        "from pfmsmtrec_flwr.cli import main\n"
        "sys.platform = 'win32'\n"
        "main()"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(pfmsmtrec_flwr.__file__).parent.parent)}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: pfmsmtrec runs on Linux, and this is win32")
