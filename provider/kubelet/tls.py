"""TLS of the kubelet port: client certificates are asked for and verified, but not required."""

from __future__ import annotations

import ssl
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from provider.kube.auth_review import User
from provider.kubelet.access import AUTHENTICATED

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

CREDENTIAL_ID: Final = "authentication.kubernetes.io/credential-id"


def server_context(certificate: Path, key: Path, client_ca: str) -> ssl.SSLContext:
    """Return the context of a node's port; `client_ca` holds the PEM certificates that client certificates chain to.

    A renewed serving certificate is taken by `load_cert_chain` on the same context, a further CA by
    `load_verify_locations`; both hold for new connections. A caller whose certificate does not verify is refused in
    the handshake (Go answers 401 after it); one without a certificate goes on to its bearer token.
    Raises OSError, ssl.SSLError for files that are not there or do not fit together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata=client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    # As Go's verifier: any certificate of the file is a root, an intermediate too.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    # A resumed session would outlive the CA and the certificate that it was made with.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.set_alpn_protocols(["http/1.1"])
    return context


def certified_user(transport: asyncio.BaseTransport | None) -> User | None:
    """Return whom the verified client certificate of a connection names: CN the user, each O a group; None if nobody.

    Rule: k8s.io/apiserver authentication/request/x509 CommonNameUserConversion.
    """
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    if tls is None:
        return None
    certificate: dict[str, Any] | None = tls.getpeercert()
    if not certificate:
        return None
    names = [pair for relative in certificate.get("subject", ()) for pair in relative]
    common = [value for kind, value in names if kind == "commonName"]
    if not common or not common[-1]:
        return None
    groups = tuple(value for kind, value in names if kind == "organizationName")
    fingerprint = sha256(tls.getpeercert(binary_form=True)).hexdigest()
    return User(
        name=common[-1],
        groups=(*groups, *(() if AUTHENTICATED in groups else (AUTHENTICATED,))),
        extra=((CREDENTIAL_ID, (f"X509SHA256={fingerprint}",)),),
    )
