"""Writing of all that a first deployment needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pfmsmtrec_flwr.deploy import start_scripts
from pfmsmtrec_flwr.deploy.app_bundle import approved_text
from pfmsmtrec_flwr.deploy.certificates import hosts_of, issue_server_certificate, make_authority, read_certificate
from pfmsmtrec_flwr.deploy.compose_file import compose_text, dockerfile
from pfmsmtrec_flwr.deploy.layout import CONNECTION, LOCAL_HOSTS, Deployment
from pfmsmtrec_flwr.deploy.new_keys import node_key_at, public_line
from pfmsmtrec_flwr.federation.binding import binding_text
from pfmsmtrec_flwr.federation.limits import LIMITS_TEXT
from pfmsmtrec_flwr.private_files import make_private

_SCRIPT_MODE = 0o755


def write_deployment(deployment: Deployment, folder: Path) -> list[Path]:
    """Write the files of a deployment; keys, and what a site may have changed, stay as they are.

    A second call with one scenario more adds the files of its site and its key to the binding.

    Parameters
    ----------
    deployment
        Machines and their names.
    folder
        Folder for `authority`, `server`, `sites` and the Compose file.

    Returns
    -------
    list of Path
        Files that were there and stay as they are.

    Raises
    ------
    UserError
        A file that is there is damaged.
    """
    server = folder / "server"
    for each in (folder, folder / "authority", server, server / "keys", server / "flower", folder / "sites"):
        make_private(each)
    keys = {scenario: _write_site(deployment, scenario, folder) for scenario in deployment.scenarios}
    _write_certificates(deployment, folder)
    for scenario, line in keys.items():
        (server / "keys" / f"{scenario}.pub").write_text(f"{line} {scenario}\n")
    (server / "binding.yaml").write_text(binding_text(keys))
    (server / "flower" / "config.toml").write_text(connection_text(deployment))
    _write_script(server / "start.sh", start_scripts.superlink_script(deployment))
    _write_script(server / "register.sh", start_scripts.registration_script(deployment))
    (server / "pfmsmtrec-superlink.service").write_text(start_scripts.superlink_unit(deployment))
    (folder / "compose.yaml").write_text(compose_text(deployment))
    (folder / "Dockerfile").write_text(dockerfile())
    own = {"limits.yaml": lambda: LIMITS_TEXT, "apps.yaml": approved_text}
    sites = [folder / "sites" / scenario for scenario in deployment.scenarios]
    return [kept for site in sites for name, text in own.items() if (kept := _write_new(site / name, text))]


def connection_text(deployment: Deployment) -> str:
    """Return Flower's configuration of the connection, for the server machine itself."""
    address, certificate = f"{LOCAL_HOSTS[1]}:{deployment.port}", str(deployment.server / "ca.pem")
    return f"[superlink.{CONNECTION}]\naddress = {json.dumps(address)}\nroot-certificates = {json.dumps(certificate)}\n"


def _write_site(deployment: Deployment, scenario: str, folder: Path) -> str:
    """Write what a site needs, and return its public key."""
    site = folder / "sites" / scenario
    for each in (site, site / "data", site / "state", site / "flower"):
        make_private(each)
    _write_script(site / "start.sh", start_scripts.supernode_script(deployment, scenario))
    unit = start_scripts.supernode_unit(deployment, scenario)
    (site / f"pfmsmtrec-supernode-{scenario}.service").write_text(unit)
    return public_line(node_key_at(site / "node.key"))


def _write_certificates(deployment: Deployment, folder: Path) -> None:
    authority_key, certificate = folder / "authority" / "ca.key", folder / "server" / "ca.pem"
    authority = make_authority(authority_key, certificate)
    hosts = list(dict.fromkeys([deployment.host, *LOCAL_HOSTS]))
    issued = folder / "server" / "server.pem"
    if not issued.exists() or set(hosts_of(read_certificate(issued))) != set(hosts):
        issue_server_certificate(authority, authority_key, folder / "server" / "server.key", issued, hosts)
    for scenario in deployment.scenarios:
        (folder / "sites" / scenario / "ca.pem").write_bytes(certificate.read_bytes())


def _write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(_SCRIPT_MODE)


def _write_new(path: Path, text: Callable[[], str]) -> Path | None:
    """Write a file unless it is there; return the path of one that is."""
    if path.exists():
        return path
    path.write_text(text())
    return None
