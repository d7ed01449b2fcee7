"""The files of a deployment: modes, certificates, keys, scripts, units, and what a second call keeps."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from deployed import deployment

from pfmsmtrec_flwr.deploy import initializing
from pfmsmtrec_flwr.deploy.app_bundle import own_bundle_hash, read_approved
from pfmsmtrec_flwr.deploy.certificates import hosts_of, read_certificate
from pfmsmtrec_flwr.deploy.commands import superlink_command, supernode_command
from pfmsmtrec_flwr.deploy.initializing import write_deployment
from pfmsmtrec_flwr.deploy.layout import Deployment
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.binding import read_binding
from pfmsmtrec_flwr.federation.limits import SiteLimits, read_limits


@pytest.fixture(autouse=True)
def bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing the app takes a second; one test does it."""
    monkeypatch.setattr(initializing, "approved_text", lambda: f"- {'0' * 64}\n")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_private_keys_are_the_owners_alone_and_stay(tmp_path: Path) -> None:
    write_deployment(deployment(tmp_path), tmp_path)
    keys = [tmp_path / "authority/ca.key", tmp_path / "server/server.key"]
    keys += [tmp_path / f"sites/{name}/node.key" for name in ("NL", "ES")]
    assert [mode(path) for path in keys] == [0o600] * 4
    assert sorted(tmp_path.rglob("*.key")) == sorted(keys)
    assert mode(tmp_path / "sites/NL") == 0o700
    before = [path.read_bytes() for path in keys]
    certificates = [(tmp_path / name).read_bytes() for name in ("server/ca.pem", "server/server.pem")]
    limits = tmp_path / "sites/NL/limits.yaml"
    limits.write_text("fewest_rows: 5\n")
    kept = write_deployment(deployment(tmp_path, "NL", "ES", "DE"), tmp_path)
    assert [path.read_bytes() for path in keys] == before
    assert [(tmp_path / name).read_bytes() for name in ("server/ca.pem", "server/server.pem")] == certificates
    assert limits.read_text() == "fewest_rows: 5\n"
    assert limits in kept
    assert (tmp_path / "sites/DE/ca.pem").read_bytes() == certificates[0]
    assert read_binding(tmp_path / "server/binding.yaml").keys.keys() == {"NL", "ES", "DE"}


@pytest.mark.parametrize("host", ["server.lab", "10.2.3.4"])
def test_the_certificate_holds_for_the_host_and_for_the_machine_itself(tmp_path: Path, host: str) -> None:
    write_deployment(deployment(tmp_path, host=host), tmp_path)
    issued, authority = (read_certificate(tmp_path / f"server/{name}.pem") for name in ("server", "ca"))
    assert set(hosts_of(issued)) == {host, "localhost", "127.0.0.1"}
    issued.verify_directly_issued_by(authority)
    context = ssl.create_default_context(cafile=tmp_path / "server/ca.pem")
    assert context.cert_store_stats()["x509_ca"] == 1
    write_deployment(deployment(tmp_path, host="other.lab"), tmp_path)  # another host: another certificate
    assert "other.lab" in hosts_of(read_certificate(tmp_path / "server/server.pem"))


def test_the_keys_of_sites_are_what_flower_reads(tmp_path: Path) -> None:
    write_deployment(deployment(tmp_path), tmp_path)
    private = serialization.load_ssh_private_key((tmp_path / "sites/ES/node.key").read_bytes(), None)
    public = serialization.load_ssh_public_key((tmp_path / "server/keys/ES.pub").read_bytes())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert private.curve.name == "secp384r1"
    assert private.public_key() == public
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    binding = read_binding(tmp_path / "server/binding.yaml")
    assert binding.keys["ES"] == der != binding.keys["NL"]


def words_of(script: Path, home: Path) -> list[str]:
    """The words that a start script hands to the shell's `exec`."""
    shell = script.read_text().replace("exec pfmsmtrec", "printf '%s\\n' pfmsmtrec")
    done = subprocess.run(["sh", "-c", shell, str(home / "start.sh")], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_scripts_start_the_same_commands_from_wherever_they_lie(tmp_path: Path) -> None:
    write_deployment(deployment(tmp_path), tmp_path)
    moved = tmp_path / "with a blank"
    shutil.copytree(tmp_path / "sites/ES", moved)
    started = words_of(moved / "start.sh", moved)
    assert started == supernode_command(deployment(tmp_path), "ES", str(moved))
    assert f'scenarios="ES" data="{moved}/data" state="{moved}/state" limits="{moved}/limits.yaml"' == started[-1]
    assert started[started.index("--port") + 1] == "9095"  # sites of one machine do not meet
    server = words_of(tmp_path / "server/start.sh", tmp_path / "server")
    assert server == superlink_command(deployment(tmp_path), str(tmp_path / "server"))
    assert {"--database", "--enable-supernode-auth", "--ssl-certfile"} < set(server)
    assert 'export PFMSMTREC_BINDING="$here/binding.yaml"' in (tmp_path / "server/start.sh").read_text()


def test_compose_runs_the_commands_of_the_scripts_and_rests_before_a_restart(tmp_path: Path) -> None:
    write_deployment(deployment(tmp_path), tmp_path)
    document = yaml.safe_load((tmp_path / "compose.yaml").read_text())
    services = document["services"]
    assert services.keys() == {"server", "site-nl", "site-es"}
    place = str(tmp_path / "sites/ES")
    assert services["site-es"]["command"] == supernode_command(deployment(tmp_path), "ES", place)
    assert services["site-es"]["volumes"] == [f"./sites/ES:{place}"]
    assert services["server"]["command"] == superlink_command(deployment(tmp_path), str(tmp_path / "server"))
    assert services["server"]["ports"] == ["8000:8000"]
    entry = [word.replace("$$", "$").replace("sleep 65", "sleep 0.1") for word in services["site-es"]["entrypoint"]]
    done = subprocess.run([*entry, "echo", "a word"], capture_output=True, text=True, check=True)
    assert done.stdout == "a word\n"


def test_a_signal_reaches_the_process_of_a_container(tmp_path: Path) -> None:
    write_deployment(deployment(tmp_path), tmp_path)
    entry = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]["server"]["entrypoint"]
    said = "trap 'echo ended; exit' TERM; sleep 0.5; echo ready; while :; do sleep 0.05; done"
    words = [word.replace("$$", "$") for word in entry]
    with subprocess.Popen([*words, "sh", "-c", said], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.read() == "ended\n"  # and no pause of a minute


def test_units_pass_the_check_of_systemd(tmp_path: Path) -> None:
    write_deployment(deployment(tmp_path), tmp_path)
    units = sorted(tmp_path.rglob("*.service"))
    assert [unit.name for unit in units] == [
        "pfmsmtrec-superlink.service",
        "pfmsmtrec-supernode-ES.service",
        "pfmsmtrec-supernode-NL.service",
    ]
    assert all("RestartSec=65\n" in unit.read_text() for unit in units)  # Flower refuses a node within 60 s
    if (analyze := shutil.which("systemd-analyze")) is None:
        return
    done = subprocess.run([analyze, "verify", *map(str, units)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "pfmsmtrec" in line], done.stderr


def test_the_limits_that_are_written_are_the_defaults(tmp_path: Path) -> None:
    write_deployment(deployment(tmp_path), tmp_path)
    assert read_limits(tmp_path / "sites/NL/limits.yaml") == SiteLimits()


@pytest.mark.parametrize(
    ("scenarios", "host", "message"),
    [
        ((), "lab", "--scenarios names none"),
        (("NL", "NL"), "lab", "--scenarios names NL twice"),
        (("../NL",), "lab", r"got the name '\.\./NL'"),
        (("NL",), "https://lab:8000", "--host is 'https://lab:8000', expected a host name"),
        (("NL",), "a b", "--host is 'a b', expected a host name"),
    ],
)
def test_names_that_fit_nowhere_are_refused(scenarios: tuple[str, ...], host: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Deployment(scenarios, host, 8000, Path("/x"), "flower", Path("/y"))


def test_a_certificate_without_its_key_is_not_replaced(tmp_path: Path) -> None:
    write_deployment(deployment(tmp_path), tmp_path)
    (tmp_path / "authority/ca.key").unlink()
    with pytest.raises(UserError, match="bring the key back"):
        write_deployment(deployment(tmp_path), tmp_path)


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # of Flower
def test_the_hash_of_the_bundle_is_that_of_its_bytes(tmp_path: Path) -> None:
    hashed = own_bundle_hash()
    listed = tmp_path / "apps.yaml"
    listed.write_text(f"# approved\n- {hashed}  # version\n")
    assert read_approved(listed) == {hashed} == {own_bundle_hash()}  # the same bytes each time


@pytest.mark.parametrize("text", ["- nothash", "a: b", "- 12", f"- {'A' * 64}"])
def test_a_list_of_bundles_is_one_of_hashes(tmp_path: Path, text: str) -> None:
    listed = tmp_path / "apps.yaml"
    listed.write_text(text)
    with pytest.raises(UserError, match="expected a list of SHA-256 hashes"):
        read_approved(listed)
    listed.write_text("# nothing may run\n")
    assert not read_approved(listed)
