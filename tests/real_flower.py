"""Flower as it is typed: `flwr` and its long-running processes, each test's own."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.flower_internals import patient_flwr
from pfmsmtrec_flwr.launch.app import app_folder

CONF = """
method: pf-msmtrec
data:
  name: synthetic
  synthetic:
    train_rows: {NL: 300, ES: 240, FR: 200, US: 160}
    validation_rows: 100
    test_rows: 120
    ctr: 0.3
    conversions_per_click: 0.4
model: {embedding_dim: 2, experts: 2, expert_layers: [8], tower_layers: [4]}
train: {batch_size: 64, device: cpu}
methods: {pf-msmtrec: {regularization: 0.01}}
federation: {rounds: 2, node_timeout: 60, draws: 50}
"""


@dataclass(frozen=True)
class Flower:
    """The `flwr` command with a home of its own, in a folder that has nothing to do with the checkout."""

    home: Path
    environment: dict[str, str]

    def run(self, settings: dict[str, str], *more: str, app: Path | None = None) -> tuple[str, str]:
        """Run the app, or a copy of it, to its end; return its status and what was printed."""
        config = self.home / "settings.toml"
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
        printed = self.call("run", str(app or app_folder()), *more, "--stream", "--run-config", str(config))
        number = re.search(r"Successfully started run (\d+)", printed)
        assert number is not None, printed
        connection = [word for word in more if not word.startswith("-") and "=" not in word]
        listed = self.call("list", *connection, "--run-id", number[1], "--format", "json")
        return str(json.loads(listed[listed.index("{") :])["runs"][0]["status"]), printed

    def call(self, *arguments: str) -> str:
        done = subprocess.run(
            [*patient_flwr(), *arguments],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=800,
        )
        return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


@dataclass(frozen=True)
class Expected:
    """What the in-process grid makes of the tiny configuration."""

    conf: Path
    config: RunConfig
    data: Path
    output: Path
