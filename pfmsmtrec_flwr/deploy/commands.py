"""Commands that start the processes of a deployment: those of scripts, of units and of the Compose file."""

from __future__ import annotations

from collections.abc import Sequence

from pfmsmtrec_flwr.deploy.layout import Deployment

FIRST_NODE_PORT = 9094
"""Port on loopback at which the first SuperNode's client processes reach it; those of other sites follow."""
CONTROL_NETWORKS = ("127.0.0.1",)
"""Networks from which runs may be started, unless the start script says otherwise."""


def superlink_command(deployment: Deployment, folder: str) -> list[str]:
    """Return the command of the SuperLink, with its files in a folder."""
    return [
        "pfmsmtrec",
        "deploy",
        "superlink",
        "--control-from",
        ",".join(CONTROL_NETWORKS),
        "--",
        "--host",
        "0.0.0.0",
        "--port",
        str(deployment.port),
        "--ssl-ca-certfile",
        f"{folder}/ca.pem",
        "--ssl-certfile",
        f"{folder}/server.pem",
        "--ssl-keyfile",
        f"{folder}/server.key",
        "--enable-supernode-auth",
        "--database",
        f"{folder}/superlink.db",
        "--disable-runtime-dependency-installation",
    ]


def supernode_command(deployment: Deployment, scenario: str, folder: str) -> list[str]:
    """Return the command of the SuperNode of a scenario, with its files in a folder."""
    return [
        "pfmsmtrec",
        "deploy",
        "supernode",
        "--apps",
        f"{folder}/apps.yaml",
        "--",
        "--superlink",
        deployment.endpoint,
        "--root-certificates",
        f"{folder}/ca.pem",
        "--auth-supernode-private-key",
        f"{folder}/node.key",
        "--port",
        str(FIRST_NODE_PORT + deployment.scenarios.index(scenario)),
        "--node-config",
        node_config([scenario], folder),
    ]


def node_config(scenarios: Sequence[str], folder: str) -> str:
    """Return the configuration of a node whose data, state and limits lie in a folder."""
    entries = {
        "scenarios": ",".join(scenarios),
        "data": f"{folder}/data",
        "state": f"{folder}/state",
        "limits": f"{folder}/limits.yaml",
    }
    return " ".join(f'{key}="{value}"' for key, value in entries.items())
