"""Check of one machine's folder before a run: nothing is started, and no run is."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature

import pfmsmtrec_flwr
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.scenarios import SYNTHETIC
from pfmsmtrec_flwr.data.store.listing import dataset_names, list_scenarios
from pfmsmtrec_flwr.deploy.app_bundle import own_bundle_hash, read_approved
from pfmsmtrec_flwr.deploy.certificates import hosts_of, read_certificate
from pfmsmtrec_flwr.deploy.expected_schema import SHOWN_SIGNS, refuse_other_schemas
from pfmsmtrec_flwr.deploy.known_flower import known_flower
from pfmsmtrec_flwr.deploy.new_keys import public_line, read_node_key
from pfmsmtrec_flwr.deploy.started import Started
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.binding import fingerprint, key_bytes, read_binding
from pfmsmtrec_flwr.federation.installed import installed_version
from pfmsmtrec_flwr.federation.limits import read_limits
from pfmsmtrec_flwr.private_files import FILE_MODE

_SECONDS = 5.0
_SOON = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class CheckLine:
    """Outcome of one check.

    Attributes
    ----------
    what
        Thing that was checked.
    detail
        What was found, or what is wrong.
    fits
        Whether a run can go on with it.
    """

    what: str
    detail: str
    fits: bool = True


def check_machine(folder: Path, config: RunConfig | None, schema: str = "") -> list[CheckLine]:
    """Check the folder of the server or of a site.

    Parameters
    ----------
    folder
        Folder that holds the machine's start script.
    config
        Configuration of a run that is planned, if one is.
    schema
        Hash of the schema of its data, or the beginning of that; empty: every schema fits.

    Raises
    ------
    UserError
        The folder is not that of a machine.
    """
    started = Started.of(folder)
    checks = _server_checks(started) if started.kind == "superlink" else _site_checks(started, config, schema)
    versions: list[tuple[str, Callable[[], str]]] = [("Flower", known_flower), ("package", _package)]
    return [_outcome(what, check) for what, check in (*versions, *checks)]


def _outcome(what: str, check: Callable[[], str]) -> CheckLine:
    try:
        return CheckLine(what, check())
    except UserError as error:
        return CheckLine(what, str(error), fits=False)


def _package() -> str:
    own = installed_version()
    if own != pfmsmtrec_flwr.__version__:
        raise UserError(f"installed is {own or 'none'}, and the code is {pfmsmtrec_flwr.__version__}")
    return own


def _server_checks(started: Started) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "certificate", lambda: _own_certificate(started)
    yield "key", lambda: _private(started.path("--ssl-keyfile"))
    yield "binding", lambda: _binding(started.path("--ssl-certfile").parent)


def _site_checks(started: Started, config: RunConfig | None, schema: str) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "certificate", lambda: _reach(started)
    yield "key", lambda: _node_key(started.path("--auth-supernode-private-key"))
    yield "app", lambda: _app(started.path("--apps"))
    yield "limits", lambda: _limits(started, config)
    yield "data", lambda: _data(started, config, schema)


def _own_certificate(started: Started) -> str:
    certificate = read_certificate(started.path("--ssl-certfile"))
    authority = read_certificate(started.path("--ssl-ca-certfile"))
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        raise UserError(f"it is not issued by the authority of {started.path('--ssl-ca-certfile')}") from None
    return f"for {', '.join(hosts_of(certificate))}, {_until(certificate.not_valid_after_utc)}"


def _reach(started: Started) -> str:
    """Speak TLS with the server as its SuperNode would, and say how long its certificate holds."""
    endpoint = started.options.get("--superlink", "")
    host, _, port = endpoint.rpartition(":")
    authority = started.path("--root-certificates")
    read_certificate(authority)
    context = ssl.create_default_context(cafile=authority)
    try:
        with (
            socket.create_connection((host, int(port)), timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            found = secured.getpeercert() or {}
    except ssl.SSLError as error:
        raise UserError(
            f"{endpoint} has no certificate that {authority} vouches for: {error.reason or error}"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"the server does not answer at {endpoint}: {error}") from None
    end = ssl.cert_time_to_seconds(str(found["notAfter"]))
    return f"{endpoint} answers, {_until(datetime.datetime.fromtimestamp(end, datetime.UTC))}"


def _until(end: datetime.datetime) -> str:
    left = end - datetime.datetime.now(datetime.UTC)
    if left <= datetime.timedelta():
        raise UserError(f"it has ended on {end:%Y-%m-%d}: write another with `pfmsmtrec deploy init`")
    return f"until {end:%Y-%m-%d}" + (": renew it soon" if left < _SOON else "")


def _private(path: Path) -> str:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if mode & ~FILE_MODE:
        raise UserError(f"others may read {path} (mode {mode:o}): chmod 600 {path}")
    return str(path)


def _node_key(path: Path) -> str:
    _private(path)
    return f"{fingerprint(key_bytes(public_line(read_node_key(path))))}, as the server's binding must have it"


def _binding(folder: Path) -> str:
    binding = read_binding(folder / "binding.yaml")
    if not binding.keys:
        raise UserError(f"{folder / 'binding.yaml'} binds no scenario: no node could take part")
    return ", ".join(f"{name} to {fingerprint(key)}" for name, key in sorted(binding.keys.items()))


def _app(path: Path) -> str:
    own, approved = own_bundle_hash(), read_approved(path)
    if own not in approved:
        raise UserError(f"the bundle of this installation, {own}, is not among the {len(approved)} of {path}")
    return f"{own[:12]}, one of {len(approved)} that may run here"


def _limits(started: Started, config: RunConfig | None) -> str:
    path = started.node_config.get("limits", "")
    if not path:
        return "the defaults"
    limits = read_limits(Path(path))
    if config is not None:
        limits.refuse_settings(config)
    return f"{path}: {', '.join(limits.parts) or 'nothing'} may leave, {limits.fewest_rows} rows at least"


def _data(started: Started, config: RunConfig | None, schema: str) -> str:
    root = Path(started.node_config.get("data", ""))
    hosted = [name.strip() for name in started.node_config.get("scenarios", "").split(",") if name.strip()]
    if config is not None and config.data.name == SYNTHETIC:
        if schema:
            raise UserError("made up by the node, so no schema of a file can be expected: leave out --schema")
        return "made up by the node"
    names = [config.data.name] if config is not None else dataset_names(root)
    stores = [store for name in names for store in list_scenarios(root, name)]
    if (stores or config is not None) and (lacking := sorted(set(hosted) - {store.scenario for store in stores})):
        raise UserError(f"scenario {', '.join(lacking)} of {' and '.join(names)} is not prepared in {root}")
    stores = [store for store in stores if not hosted or store.scenario in hosted]
    if schema:
        refuse_other_schemas(stores, schema)
    found = []
    for store in stores:
        store.verify()
        rows, own = len(store.splits["train"]), store.schema_hash
        expected = ", as expected" if schema and own.startswith(schema) else ""
        found.append(f"{store.dataset} {store.scenario}: {rows} training rows, schema {own[:SHOWN_SIGNS]}{expected}")
    return "; ".join(found) or f"nothing is prepared in {root}: made-up scenarios only"
