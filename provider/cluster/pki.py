"""The local cluster's keys and certificates, as a real cluster has them (CA and front-proxy CA apart).

Every file is made once and kept: a second start uses the same CA, so kubeconfigs stay valid. Only a serving certificate
is made anew, when it is wanted for other names or addresses than before.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from provider.clock import Clock

__all__ = ["Pair", "Pki", "write_kubeconfig", "write_private"]

_YEARS = 10
_BACKDATED = dt.timedelta(minutes=5)  # clocks differ


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Pki:
    """Makes and keeps the files below `directory`."""

    directory: Path
    clock: Clock

    def authority(self, name: str) -> Pair:
        """Return the self-signed CA `name`."""
        return self._pair(name, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), None)

    def client(self, ca: Pair, name: str, user: str, groups: Sequence[str] = ()) -> Pair:
        """Return a client certificate: CN is the Kubernetes user, each O a group."""
        organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._pair(name, subject, ca, usage=ExtendedKeyUsageOID.CLIENT_AUTH)

    def server(self, ca: Pair, name: str, names: Sequence[str], addresses: Sequence[str]) -> Pair:
        """Return a serving certificate for the DNS names and IP addresses."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        sans: list[x509.GeneralName] = [x509.DNSName(each) for each in names]
        sans += [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
        return self._pair(name, subject, ca, usage=ExtendedKeyUsageOID.SERVER_AUTH, sans=sans)

    def service_account_key(self) -> Pair:
        """Return the key that signs service-account tokens; `certificate` is the bare public key."""
        pair = Pair(self.directory / "sa.pub", self.directory / "sa.key")
        if not (pair.key.exists() and pair.certificate.exists()):
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(pair.key, key)
            public = key.public_key()
            pair.certificate.write_bytes(
                public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            )
        return pair

    def _pair(
        self,
        name: str,
        subject: x509.Name,
        ca: Pair | None,
        *,
        usage: x509.ObjectIdentifier | None = None,
        sans: Sequence[x509.GeneralName] = (),
    ) -> Pair:
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        if pair.certificate.exists() and pair.key.exists() and (not sans or _names(pair.certificate) == sans):
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.fromtimestamp(self.clock.now(), tz=dt.UTC)
        issuer, signer = (subject, key) if ca is None else _signer(ca)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + dt.timedelta(days=365 * _YEARS))
            .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
            .add_extension(_key_usage(authority=ca is None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        _write_key(pair.key, key)
        pair.certificate.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return pair


def write_kubeconfig(path: Path, server: str, ca: Pair, client: Pair, name: str) -> None:
    """Write a kubeconfig that stands alone (certificates inside), readable by its owner only."""
    from base64 import b64encode

    def data(file: Path) -> str:
        return b64encode(file.read_bytes()).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": data(ca.certificate)}}],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": data(client.certificate),
                    "client-key-data": data(client.key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    write_private(path, yaml.safe_dump(document, sort_keys=False).encode())


def _names(certificate: Path) -> list[x509.GeneralName]:
    """Return the names and addresses that a serving certificate is for."""
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    return list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def _signer(ca: Pair) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    key = serialization.load_pem_private_key(ca.key.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{ca.key} is not an elliptic-curve key")
    return x509.load_pem_x509_certificate(ca.certificate.read_bytes()).subject, key


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    write_private(path, pem)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)
