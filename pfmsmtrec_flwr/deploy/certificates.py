"""Certificate authority and server certificate of a deployment."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pfmsmtrec_flwr.deploy.new_keys import private_key_at
from pfmsmtrec_flwr.errors import UserError

AUTHORITY_DAYS = 3650
SERVER_DAYS = 825
"""Longest life of a server certificate that all TLS libraries accept."""

_AUTHORITY_USAGE = {"key_cert_sign": True, "crl_sign": True}
_SERVER_USAGE = {"digital_signature": True}
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def make_authority(key_path: Path, certificate_path: Path) -> x509.Certificate:
    """Return the certificate of the authority; key and certificate are made and written unless they are there.

    Raises
    ------
    UserError
        There is a certificate without its key.
    """
    if certificate_path.exists() and not key_path.exists():
        raise UserError(f"{certificate_path} is there, and its key {key_path} is not: bring the key back to go on")
    key = private_key_at(key_path)
    if certificate_path.exists():
        return read_certificate(certificate_path)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pfmsmtrec deployment")])
    builder = _builder(name, name, key.public_key(), AUTHORITY_DAYS, _AUTHORITY_USAGE, authority=True)
    certificate = builder.sign(key, hashes.SHA384())
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


def issue_server_certificate(
    authority: x509.Certificate, authority_key: Path, key_path: Path, certificate_path: Path, hosts: Sequence[str]
) -> None:
    """Write a certificate for the server's names and addresses; its key is made unless it is there."""
    key = private_key_at(key_path)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    builder = _builder(name, authority.subject, key.public_key(), SERVER_DAYS, _SERVER_USAGE, authority=False)
    signer = private_key_at(authority_key)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
    )
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = builder.add_extension(identifier, critical=False).sign(signer, hashes.SHA384())
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate in PEM.

    Raises
    ------
    UserError
        The file cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read a certificate from {path}: {error}") from None


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses for which a server certificate holds."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    days: int,
    usage: dict[str, bool],
    *,
    authority: bool,
) -> x509.CertificateBuilder:
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)  # clocks of sites differ
    usages = {name: usage.get(name, False) for name in _USAGES}
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .add_extension(x509.KeyUsage(**usages), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
