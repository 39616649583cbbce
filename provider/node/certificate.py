"""A node's certificates: what one must say, the request for it, and the file that keeps it.

Rules of renewal: client-go `util/certificate/certificate_manager.go` (renewed at 70 to 90 % of its life, at random so
that nodes do not all ask at once; replaced when it lacks a name or address that is wanted).
"""

from __future__ import annotations

import hashlib
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import Struct

from provider.kube.private_file import write_private

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random  # noqa: TID251 (the type; the value is injected)

log = structlog.get_logger(__name__)

NODE_GROUP = "system:nodes"
RENEW_FROM, RENEW_SPREAD = 0.7, 0.2
"""Share of a certificate's life after which it is renewed: 70 %, and up to 20 % more at random."""

_PEM = serialization.Encoding.PEM


class Wanted(Struct, frozen=True, kw_only=True):
    """What a certificate of a node must say."""

    node: str
    kind: Literal["client", "serving"]
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def signer(self) -> str:
        """Return the signer that gives such certificates."""
        client = self.kind == "client"
        return "kubernetes.io/kube-apiserver-client-kubelet" if client else "kubernetes.io/kubelet-serving"

    @property
    def usages(self) -> list[str]:
        """Return exactly what the signer demands of keys that are not RSA."""
        return ["digital signature", "client auth" if self.kind == "client" else "server auth"]

    @property
    def user(self) -> str:
        """Return the node's user name."""
        return f"system:node:{self.node}"


class Certificate(Struct, frozen=True, kw_only=True):
    """A certificate with its key (both PEM); times in seconds since the epoch."""

    certificate: bytes
    key: bytes
    not_before: float
    not_after: float
    user: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]

    def satisfies(self, wanted: Wanted, now: float) -> bool:
        """Say whether it is valid and says all that is wanted; it may say more."""
        return (
            now < self.not_after
            and self.user == wanted.user
            and set(wanted.names) <= set(self.names)
            and set(wanted.addresses) <= set(self.addresses)
        )

    def renewal(self, random: Random) -> float:
        """Return when to ask for the next one."""
        return self.not_before + (self.not_after - self.not_before) * (RENEW_FROM + RENEW_SPREAD * random.random())


class KeyAndRequest(Struct, frozen=True):
    """A private key and the certificate request made with it, both PEM."""

    key: bytes
    request: bytes

    @property
    def digest(self) -> str:
        """Return a name for the request: the same request, asked for again, is the same object."""
        return hashlib.sha256(self.request).hexdigest()[:10]


def make_request(wanted: Wanted) -> KeyAndRequest:
    """Make a new key (P-256, as the kubelet does) and a request for what is wanted."""
    key = ec.generate_private_key(ec.SECP256R1())
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, NODE_GROUP)
    subject = x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, wanted.user)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    alternative: list[x509.GeneralName] = [x509.DNSName(name) for name in wanted.names]
    alternative += [x509.IPAddress(ip_address(address)) for address in wanted.addresses]
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    pem = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyAndRequest(pem, builder.sign(key, hashes.SHA256()).public_bytes(_PEM))


def read_certificate(pem: bytes, key: bytes) -> Certificate:
    """Return the certificate that stands first in `pem`; ValueError when there is none, or the key is another's."""
    first = x509.load_pem_x509_certificates(pem)[0]
    private = serialization.load_pem_private_key(key, password=None)
    if private.public_key() != first.public_key():
        raise ValueError("the key does not belong to the certificate")
    names, addresses = _alternative_names(first)
    return Certificate(
        certificate=pem,
        key=key,
        not_before=first.not_valid_before_utc.timestamp(),
        not_after=first.not_valid_after_utc.timestamp(),
        user=_common_name(first.subject),
        names=names,
        addresses=addresses,
    )


class CertificateFile:
    """`<stem>.pem`: the key and its certificate, and `<stem>.pending.pem`: a key whose certificate is asked for.

    The first line names the cluster (a hash of its CA): what another cluster gave is as good as nothing.
    """

    def __init__(self, directory: Path, stem: str, cluster_ca: bytes) -> None:
        """Keep the files `<stem>.pem` and `<stem>.pending.pem` in `directory`."""
        self.path = directory / f"{stem}.pem"
        self._pending = directory / f"{stem}.pending.pem"
        self._mark = b"# cluster " + hashlib.sha256(cluster_ca).hexdigest().encode() + b"\n"

    def load(self) -> Certificate | None:
        """Return what is kept; None when there is nothing, it is damaged, or it is of another cluster."""
        text = self._read(self.path)
        if text is None:
            return None
        try:
            return read_certificate(text, text)
        except ValueError as error:
            log.warning("certificate.unreadable", file=str(self.path), error=str(error))
            return None

    def save(self, certificate: Certificate) -> None:
        """Put a certificate in the place of the former one; what was pending is answered."""
        write_private(self.path, self._mark + certificate.key + certificate.certificate)
        self.drop_pending()

    def pending(self, wanted: Wanted) -> KeyAndRequest | None:
        """Return the key and request that wait for an answer, if they ask for just this."""
        text = self._read(self._pending)
        if text is None:
            return None
        try:
            asked = x509.load_pem_x509_csr(text)
            serialization.load_pem_private_key(text, password=None)
        except ValueError as error:
            log.warning("certificate.unreadable", file=str(self._pending), error=str(error))
            return None
        if (_common_name(asked.subject), *_alternative_names(asked)) != (wanted.user, wanted.names, wanted.addresses):
            return None
        key, mark, request = text.partition(b"-----BEGIN CERTIFICATE REQUEST-----")
        return KeyAndRequest(key, mark + request)

    def save_pending(self, made: KeyAndRequest) -> None:
        """Keep a key while its certificate is asked for: a restart goes on with the same request."""
        write_private(self._pending, self._mark + made.key + made.request)

    def drop_pending(self) -> None:
        """Forget what was asked for."""
        self._pending.unlink(missing_ok=True)

    def _read(self, path: Path) -> bytes | None:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        return text.removeprefix(self._mark) if text.startswith(self._mark) else None


def _common_name(subject: x509.Name) -> str:
    return next((str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")


def _alternative_names(source: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return DNS names and addresses of a certificate or a request, in their order."""
    try:
        found = source.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    addresses = tuple(str(each) for each in found.get_values_for_type(x509.IPAddress))
    return tuple(found.get_values_for_type(x509.DNSName)), addresses
