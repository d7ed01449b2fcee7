"""Log of a run on Flower: its number, and the reason of a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pfmsmtrec_flwr.flower_internals import run_id_in
from pfmsmtrec_flwr.launch.flower import NOT_STARTED, RunStatus

LOG_NAME = "flower.log"

_USER_ERROR = re.compile(r"\bUserError: (.+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BOX = re.compile(r"╭[^\n]*\n((?:\s*│[^\n]*\n)+)\s*╰")
_FRAME = " \t│╭╮╰╯─"


@dataclass(frozen=True, slots=True)
class FlowerLog:
    """File that holds the output of ``flwr run``.

    Attributes
    ----------
    path
        Path of the file, which may be missing yet.
    """

    path: Path

    @property
    def run_id(self) -> str:
        """Number of the run; empty before Flower has taken the run and starts the app."""
        return run_id_in(_read(self.path))

    def remove_colours(self) -> None:
        """Remove the terminal's colour codes."""
        self.path.write_text(_COLOUR.sub("", _read(self.path)), encoding="utf-8")

    def append(self, other: Path) -> None:
        """Append another log file, if it exists."""
        if other.exists():
            text = f"{_read(self.path)}\n--- {other.name} ---\n{_read(other)}"
            self.path.write_text(text, encoding="utf-8")

    def reason(self, end: RunStatus) -> str:
        """Return in one line why the run failed: the app's last `UserError`, or else what Flower says."""
        text = _read(self.path)
        if errors := _USER_ERROR.findall(text):
            return str(errors[-1])
        details = end.details
        if end == NOT_STARTED:
            details = _last_words(text) or "`flwr run` said nothing"
        return f"the run failed on Flower ({end.status}): {details or 'no reason known'}; the log is {self.path}"


def _last_words(text: str) -> str:
    """Return the text of the last box that Flower drew, in one line, or the last line where there is none."""
    boxes = _BOX.findall(text)
    lines = [line.strip(_FRAME) for line in (boxes[-1] if boxes else text).splitlines()]
    said = [line for line in lines if line]
    return " ".join(said) if boxes else "".join(said[-1:])


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
