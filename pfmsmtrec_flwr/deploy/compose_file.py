"""Docker Compose file of a deployment."""

from __future__ import annotations

from typing import Any

import pfmsmtrec_flwr
from pfmsmtrec_flwr.deploy.commands import superlink_command, supernode_command
from pfmsmtrec_flwr.deploy.layout import Deployment
from pfmsmtrec_flwr.deploy.start_scripts import REST_SECONDS
from pfmsmtrec_flwr.federation.binding import BINDING_VARIABLE
from pfmsmtrec_flwr.flower_internals import HOME_VARIABLE
from pfmsmtrec_flwr.validation import dump_yaml

# Compose restarts at once; a signal during the work is passed on, and the pause comes after it.
_RESTING = (
    'trap \'kill -TERM "$$child" 2>/dev/null; wait "$$child"; exit\' TERM INT; '
    f'"$$@" & child=$$!; wait "$$child"; sleep {REST_SECONDS} & child=$$!; wait "$$child"'
)
DOCKERFILE = """\
# docker build -t pfmsmtrec-flwr:{version} . (with the wheel of this project in the same folder)
FROM python:3.12-slim
COPY *.whl /tmp/
RUN pip install --no-cache-dir /tmp/*.whl && rm /tmp/*.whl
"""


def compose_document(deployment: Deployment) -> dict[str, Any]:
    """Return the services of all machines; each machine starts its own by name."""
    home = str(deployment.server)
    server = _service("server", home, superlink_command(deployment, home))
    server["environment"][BINDING_VARIABLE] = f"{home}/binding.yaml"
    server["ports"] = [f"{deployment.port}:{deployment.port}"]
    if deployment.address is None:
        server["networks"] = {"default": {"aliases": [deployment.host]}}  # where all services run on one machine
    sites = {}
    for scenario in deployment.scenarios:
        home = str(deployment.site(scenario))
        command = supernode_command(deployment, scenario, home)
        sites[f"site-{scenario.lower()}"] = _service(f"sites/{scenario}", home, command)
    return {"name": "pfmsmtrec", "services": {"server": server, **sites}}


def compose_text(deployment: Deployment) -> str:
    """Return the text of the Compose file."""
    return (
        "# One service for each machine: `docker compose up -d server`, `docker compose up -d site-...`.\n"
        "# The account that owns the keys runs them: `export UID GID=$(id -g)` before.\n"
        f"{dump_yaml(compose_document(deployment))}"
    )


def dockerfile() -> str:
    """Return the recipe of the image that the Compose file names."""
    return DOCKERFILE.format(version=pfmsmtrec_flwr.__version__)


def _service(folder: str, home: str, command: list[str]) -> dict[str, Any]:
    return {
        "image": f"pfmsmtrec-flwr:{pfmsmtrec_flwr.__version__}",
        "init": True,
        "restart": "always",
        "user": "${UID:-1000}:${GID:-1000}",
        "environment": {"HOME": home, HOME_VARIABLE: f"{home}/flower"},
        "volumes": [f"./{folder}:{home}"],
        "entrypoint": ["sh", "-c", _RESTING, "sh"],
        "command": [word.replace("$", "$$") for word in command],
    }
