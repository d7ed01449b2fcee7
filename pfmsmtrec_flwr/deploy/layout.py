"""Folders and files of a deployment, and the machines that it runs on."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import safe_folder

CONNECTION = "deployment"
"""Name of the connection in Flower's configuration."""
LOCAL_HOSTS = ("localhost", "127.0.0.1")
"""Names by which the server machine reaches itself; its certificate holds them beside the host's own."""

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What `pfmsmtrec deploy init` writes files for.

    Attributes
    ----------
    scenarios
        Names of the scenarios, one for each site.
    host
        Name or IPv4 address by which the sites reach the server.
    port
        Port of the SuperLink.
    home
        Folder below which `server` and `sites/NAME` lie on the machines; for files that need absolute paths.
    user
        Account under which systemd starts the processes.
    programs
        Folder of the command `pfmsmtrec` on the machines.
    """

    scenarios: tuple[str, ...]
    host: str
    port: int
    home: Path
    user: str
    programs: Path

    def __post_init__(self) -> None:
        """Refuse names that cannot stand in a file name, a certificate or a start script.

        Raises
        ------
        UserError
            A scenario is missing, repeated or has a name of other signs; the host is no name and no address.
        """
        if not self.scenarios:
            raise UserError("--scenarios names none: name at least one, such as NL,ES")
        if twice := sorted({name for name in self.scenarios if self.scenarios.count(name) > 1}):
            raise UserError(f"--scenarios names {', '.join(twice)} twice")
        safe_folder(self.home, *self.scenarios)
        if self.address is None and not _HOST_NAME.fullmatch(self.host):
            raise UserError(
                f"--host is '{self.host}', expected a host name or an IPv4 address, without scheme and port"
            )

    @property
    def address(self) -> ipaddress.IPv4Address | None:
        """The host as an address; None if it is a name."""
        try:
            return ipaddress.IPv4Address(self.host)
        except ValueError:
            return None

    @property
    def endpoint(self) -> str:
        """Host and port of the SuperLink, as the sites name it."""
        return f"{self.host}:{self.port}"

    def site(self, scenario: str) -> Path:
        """Return the folder of a site on its machine."""
        return self.home / "sites" / scenario

    @property
    def server(self) -> Path:
        """Folder of the server on its machine."""
        return self.home / "server"
