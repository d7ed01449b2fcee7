"""Start scripts and systemd units of a deployment."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pfmsmtrec_flwr.deploy.commands import superlink_command, supernode_command
from pfmsmtrec_flwr.deploy.layout import CONNECTION, Deployment
from pfmsmtrec_flwr.federation.binding import BINDING_VARIABLE
from pfmsmtrec_flwr.flower_internals import HOME_VARIABLE

REST_SECONDS = 65
"""Pause before a process starts again: Flower refuses a SuperNode that comes back within 60 s."""

_FOLDER = "$here"
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_SHELL = """\
#!/bin/sh
# {title}
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
export PATH="${{PFMSMTREC_BIN:-{programs}}}:$PATH"
{body}
"""
_UNIT = """\
[Unit]
Description={title}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
User={user}
WorkingDirectory={folder}
ExecStart=/bin/sh {folder}/start.sh
Restart=always
RestartSec={rest}
KillMode=control-group
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full

[Install]
WantedBy=multi-user.target
"""


def superlink_script(deployment: Deployment) -> str:
    """Return the script that starts the SuperLink."""
    body = (
        f'export {BINDING_VARIABLE}="$here/binding.yaml"\n'
        f'export {HOME_VARIABLE}="$here/flower"\n'
        f"exec {_shell(superlink_command(deployment, _FOLDER))}"
    )
    return _script(deployment, "Starts the SuperLink: the server of the deployment.", body)


def registration_script(deployment: Deployment) -> str:
    """Return the script that makes the keys of the sites known to a running SuperLink."""
    body = (
        f'export {HOME_VARIABLE}="$here/flower"\n'
        'for key in "$here"/keys/*.pub; do\n'
        '    name="$(basename "$key" .pub)"\n'
        f'    flwr supernode register "$key" {CONNECTION} --name "$name" || echo "$name: not registered" >&2\n'
        "done"
    )
    title = "Registers the keys of the sites. A key that is registered already is refused, which does no harm."
    return _script(deployment, title, body)


def supernode_script(deployment: Deployment, scenario: str) -> str:
    """Return the script that starts the SuperNode of a site."""
    body = f'export {HOME_VARIABLE}="$here/flower"\nexec {_shell(supernode_command(deployment, scenario, _FOLDER))}'
    return _script(deployment, f"Starts the SuperNode of scenario {scenario}.", body)


def superlink_unit(deployment: Deployment) -> str:
    """Return the systemd unit of the SuperLink."""
    return _UNIT.format(
        title="Flower SuperLink of a pfmsmtrec deployment",
        folder=deployment.server,
        user=deployment.user,
        rest=REST_SECONDS,
    )


def supernode_unit(deployment: Deployment, scenario: str) -> str:
    """Return the systemd unit of the SuperNode of a site."""
    return _UNIT.format(
        title=f"Flower SuperNode of scenario {scenario}",
        folder=deployment.site(scenario),
        user=deployment.user,
        rest=REST_SECONDS,
    )


def _script(deployment: Deployment, title: str, body: str) -> str:
    return _SHELL.format(title=title, programs=deployment.programs, body=body)


def _shell(command: Sequence[str]) -> str:
    """Return a command for the shell, in which ``$here`` is the script's folder."""
    words = [_word(word) for word in command]
    return " ".join(words).replace(" --", " \\\n    --")


def _word(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    return '"' + re.sub(r'(["\\`])', r"\\\1", word) + '"'
