"""The check of a machine's folder: what fits, and each thing that does not, by its name."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deployed import deployment
from federated import Tiny

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.schema.document import load_schema
from pfmsmtrec_flwr.deploy import checking, initializing
from pfmsmtrec_flwr.deploy.checking import CheckLine, check_machine
from pfmsmtrec_flwr.deploy.expected_schema import expected_schema
from pfmsmtrec_flwr.deploy.initializing import write_deployment
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation import installed
from pfmsmtrec_flwr.methods.configuration import load_config

HASH = "0" * 64


@pytest.fixture(autouse=True)
def bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing the app takes a second."""
    monkeypatch.setattr(initializing, "approved_text", lambda: f"- {HASH}\n")
    monkeypatch.setattr(checking, "own_bundle_hash", lambda: HASH)


@contextmanager
def answering(folder: Path) -> Iterator[int]:
    """A server that shakes hands with the deployment's certificate, and no more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server/server.pem", folder / "server/server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def serve() -> None:
            plain, _ = listener.accept()
            with plain:
                plain.settimeout(20)
                try:
                    context.wrap_socket(plain, server_side=True).close()
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join(30)


def found(folder: Path) -> dict[str, CheckLine]:
    return {line.what: line for line in check_machine(folder, None)}


def write(folder: Path, port: int = 1) -> None:
    write_deployment(deployment(folder, "FR", "US", host="127.0.0.1", port=port), folder)


def prepared(tiny: Tiny, folder: Path) -> None:
    """Let the site US have its rows."""
    data = folder / "sites/US/data"
    data.rmdir()
    data.symlink_to(tiny.root)


def test_a_site_that_fits(tiny: Tiny, tmp_path: Path) -> None:
    write(tmp_path)
    prepared(tiny, tmp_path)
    with answering(tmp_path) as port:
        write(tmp_path, port)
        lines = found(tmp_path / "sites/US")
    assert [line.what for line in lines.values() if not line.fits] == []
    assert lines.keys() == {"Flower", "package", "certificate", "key", "app", "limits", "data"}
    assert lines["certificate"].detail.startswith(f"127.0.0.1:{port} answers, until 20")
    assert "tiny US: 48 training rows, schema 55555555" in lines["data"].detail
    assert lines["limits"].detail.endswith("may leave, 32 rows at least")
    server = found(tmp_path / "server")
    assert all(line.fits for line in server.values())
    key = lines["key"].detail.partition(",")[0]
    assert f"US to {key}" in server["binding"].detail  # people compare them


def test_each_thing_that_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    site = tmp_path / "sites/FR"
    assert "the server does not answer at 127.0.0.1:1" in found(site)["certificate"].detail
    (site / "node.key").chmod(0o644)
    assert found(site)["key"].detail.endswith(f"(mode 644): chmod 600 {site}/node.key")
    (site / "node.key").chmod(0o600)
    (site / "node.key").write_text("nothing")
    assert found(site)["key"].detail.startswith("cannot read an SSH private key from ")
    (site / "apps.yaml").write_text(f"- {'a' * 64}\n")
    assert "is not among the 1 of" in found(site)["app"].detail
    (site / "limits.yaml").write_text("most_thread: 1\n")
    assert "unknown key 'most_thread'" in found(site)["limits"].detail
    (tmp_path / "server/binding.yaml").write_text("")
    assert "binds no scenario" in found(tmp_path / "server")["binding"].detail
    monkeypatch.setattr(checking, "installed_version", lambda: "0.0.1")
    assert found(site)["package"].detail.startswith("installed is 0.0.1, and the code is ")
    assert not any(found(site)[what].fits for what in ("certificate", "key", "app", "limits", "package"))
    with pytest.raises(UserError, match="name the folder of one machine"):
        check_machine(tmp_path, None)


def test_data_under_another_schema_than_the_expected_one_does_not_fit(tiny: Tiny, tmp_path: Path) -> None:
    write(tmp_path)
    prepared(tiny, tmp_path)

    def data(expected: str, config: RunConfig | None = None) -> CheckLine:
        (line,) = (line for line in check_machine(tmp_path / "sites/US", config, expected) if line.what == "data")
        return line

    for expected in ("5" * 32, "5" * 8):
        line = data(expected)
        assert line.fits
        assert "tiny US: 48 training rows, schema 55555555, as expected" in line.detail
    line = data("6" * 32)
    assert not line.fits
    assert line.detail.startswith("scenario US was prepared under schema 55555555, and 66666666 is expected: ")
    made_up = data("5" * 8, load_config("synthetic"))
    assert (made_up.fits, made_up.detail.partition(",")[0]) == (False, "made up by the node")
    (tmp_path / "sites/US/data").unlink()
    assert data("5" * 8).detail == "nothing is prepared, and schema 55555555 is expected"


def test_an_expected_schema_is_named_by_its_hash_its_beginning_or_its_file(
    pfmsmtrec: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    schema = load_schema("kuairand")
    assert expected_schema("kuairand") == schema.schema_hash
    assert expected_schema(schema.schema_hash[:8]) == schema.schema_hash[:8]
    with pytest.raises(UserError, match="5555555"):
        expected_schema("5555555")  # too short to tell schemas apart, and no name
    assert pfmsmtrec("deploy", "schema", "kuairand") == 0
    assert capsys.readouterr().out == f"{schema.schema_hash}\n"


def test_data_of_another_scenario_does_not_fit(tiny: Tiny, tmp_path: Path) -> None:
    write(tmp_path)
    prepared(tiny, tmp_path)
    script = tmp_path / "sites/US/start.sh"
    script.write_text(script.read_text().replace('scenarios=\\"US\\"', 'scenarios=\\"US,BE\\"'))
    line = found(tmp_path / "sites/US")["data"]
    assert not line.fits
    assert line.detail.startswith("scenario BE of tiny")


def test_a_certificate_of_another_authority_is_noticed(tmp_path: Path) -> None:
    write(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    write(other)
    with answering(other) as port:
        write(tmp_path, port)
        line = found(tmp_path / "sites/US")["certificate"]
    assert not line.fits
    assert "vouches for" in line.detail
    (tmp_path / "server/ca.pem").write_bytes((other / "server/ca.pem").read_bytes())
    assert "not issued by the authority of" in found(tmp_path / "server")["certificate"].detail


def test_an_app_of_another_version_than_the_installed_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed.refuse_other_code()
    monkeypatch.setattr(installed, "installed_version", lambda: "0.1.0")
    with pytest.raises(UserError, match=r"and this node has 0\.1\.0 installed: install the same version"):
        installed.refuse_other_code()


def test_the_command_says_what_would_keep_a_machine_from_a_run(tmp_path: Path, pfmsmtrec: Callable[..., int]) -> None:
    write(tmp_path)
    assert pfmsmtrec("deploy", "check", tmp_path / "server", "--schema", "kuairand") == 0
    assert pfmsmtrec("deploy", "check", tmp_path / "sites/US") == 1
