"""The page on scores does what it says: its Python and its commands run, in order, with the output it shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_walkthrough import FILE_MARK, without_figures

import pfmsmtrec_flwr
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.results.predictions import SCENARIO_FILE
from pfmsmtrec_flwr.scoring.model_card import CARD_NAME
from pfmsmtrec_flwr.scoring.saved_model import read_description

PAGE = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent / "docs" / "scoring.md"


def test_the_page_runs_from_top_to_bottom(
    pfmsmtrec: Callable[..., int], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    printed, commands = "", []
    runtime = find_spec("onnxruntime") is not None
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for language, block in blocks:
        if language == "python" and ("onnx" not in block or runtime):
            exec(compile(block, PAGE.name, "exec"), names)
            printed = capsys.readouterr().out
        elif language == "yaml":
            named = FILE_MARK.match(block)
            assert named is not None
            Path(named[1]).write_text(block)
        elif language == "sh":
            for line in (line for line in block.splitlines() if "onnx" not in line or runtime):
                command, *words = shlex.split(line)
                assert command == "pfmsmtrec"
                assert pfmsmtrec(*words) == 0
                commands.append(words[0])
            out = capsys.readouterr().out
            printed = Path("scores.csv").read_text() if commands[-1] == "predict" else out
        elif language == "text":
            assert figureless(printed).rstrip().endswith(figureless(block).rstrip())
    shown = ["predict", "show", "show"]
    assert commands == ["prepare", "run", "predict", *shown, "export", *(["export"] if runtime else [])]
    folder = Path("runs/first/clients/pf-msmtrec/NL")
    listed = set(re.findall(r"`([\w.]+)`", " ".join(re.findall(r"^\| (`.+?) \|", PAGE.read_text(), re.MULTILINE))))
    there = {file.name for file in folder.iterdir()}
    assert listed == there | {"model.onnx"} and ("model.onnx" in there) == runtime
    assert there - {"model.pt2", "model.onnx"} == {
        *read_description(folder).checksums,
        *("model.json", CARD_NAME, SCENARIO_FILE),
    }
    store = ScenarioStore.open(home / ".pfmsmtrec" / "data" / "shop" / "NL")
    assert all((folder / name).samefile(store.folder / name) for name in store.attached)
    if runtime:
        np.testing.assert_allclose(names["clicks"][0], names["scores"]["click"][0], atol=1e-5)
    np.testing.assert_allclose(names["probabilities"], np.load(folder / SCENARIO_FILE), atol=1e-6)


def figureless(text: str) -> str:
    return without_figures(re.sub(r"\d\.\d{5,}", "0.0000", text))
