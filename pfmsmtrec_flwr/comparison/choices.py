"""Files of chosen settings: one for each tuned method, and `tuned.yaml` with those of all."""

from __future__ import annotations

import json
from pathlib import Path

from pfmsmtrec_flwr.comparison.tuning import Tuned
from pfmsmtrec_flwr.config import Settings
from pfmsmtrec_flwr.validation import dump_yaml

TUNED_NAME = "tuned.yaml"
_HEAD = "methods:"


def write_choice(path: Path, method: str, own: Settings, tuned: Tuned, source: str) -> None:
    """Write the settings of one method in the form of a configuration file.

    Parameters
    ----------
    path
        File to write.
    method
        Name of the method.
    own
        Settings of the method, including the chosen ones.
    tuned
        Outcome of its tuning.
    source
        Data and seeds of the trials, for a comment.
    """
    cut = f", {tuned.stopped} of them cut short" if tuned.stopped else ""
    lines = [_HEAD, f"  {json.dumps(method)}:  # {_score(tuned)}, best of {tuned.trials}{cut}; {source}"]
    lines += [f"    {line}" for line in (dump_yaml(own).splitlines() if own else ["{}"])]
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, lines)


def join_choices(trials: Path, path: Path) -> None:
    """Write the settings of all methods that were tuned below a folder of trials into one file."""
    lines = []
    for file in sorted(trials.glob(f"*/{TUNED_NAME}")):
        lines += file.read_text(encoding="utf-8").splitlines()[1:]
    _write(
        path, ["# Chosen on validation rows of the data and seeds named.", _HEAD if lines else f"{_HEAD} {{}}", *lines]
    )


def _score(tuned: Tuned) -> str:
    if tuned.score is None:
        return "no trial has a figure"
    return f"validation AUC {tuned.auc:.4f}" if tuned.auc is not None else f"validation log loss {-tuned.score:.4f}"


def _write(path: Path, lines: list[str]) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.replace(path)
