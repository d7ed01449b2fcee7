"""A deployment in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

from pfmsmtrec_flwr.deploy.layout import Deployment


def deployment(home: Path, *scenarios: str, host: str = "server.lab", port: int = 8000) -> Deployment:
    return Deployment(scenarios or ("NL", "ES"), host, port, home, "flower", Path("/opt/programs"))
