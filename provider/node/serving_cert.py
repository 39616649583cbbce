"""The certificate of a node's kubelet port, asked for as the node itself (signer kubernetes.io/kubelet-serving).

Nobody in Kubernetes approves these: in the local cluster provider/cluster/approver.py does, elsewhere the cluster's own
approver or a person. Until then the port has no certificate and refuses every handshake, as the stock kubelet's does;
pods run all the same and the Node is Ready, only logs and exec wait. It is said in the log and in an event of the Node.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import structlog

from provider.node.certificate import CertificateFile, Wanted
from provider.node.events import NodeEvents
from provider.node.keeper import CertificateKeeper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.kube.client import KubeApi
    from provider.node.certificate import Certificate

log = structlog.get_logger(__name__)


class ServingCertificate:
    """The TLS side of one node's kubelet port: hand `context` to the listener, `run` beside it."""

    def __init__(
        self,
        api: KubeApi,
        node_name: str,
        directory: Path,
        *,
        cluster_ca: bytes,
        client_ca: str,
        clock: Clock,
        random: Random,
    ) -> None:
        """Ask with the node's own client `api`; trust callers' certificates of `client_ca` (PEM, may be empty)."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        if client_ca:
            self.trust(client_ca)
        self._node_name = node_name
        self._events = NodeEvents(api, node_name, clock=clock)
        self._file = CertificateFile(directory, f"{node_name}-serving", cluster_ca)
        self._keeper = CertificateKeeper(api, self._file, clock=clock, random=random, told=self._tell, use=self._use)

    def trust(self, client_ca: str) -> None:
        """Take client certificates of these CAs too (PEM); none is demanded, for tokens are as good."""
        self.context.load_verify_locations(cadata=client_ca)
        self.context.verify_mode = ssl.CERT_OPTIONAL

    def node_seen(self, node: Mapping[str, Any]) -> None:
        """Take the Node as the API server has it: its name and InternalIPs are what the certificate must say.

        Only what the Node says can be approved, so the addresses come from there and not from the configuration.
        """
        self._events.node_uid = node["metadata"]["uid"]
        addresses = (node.get("status") or {}).get("addresses") or ()
        internal = tuple(sorted(each["address"] for each in addresses if each["type"] == "InternalIP"))
        self._keeper.want(Wanted(node=self._node_name, kind="serving", names=(self._node_name,), addresses=internal))

    async def run(self) -> None:
        """Ask for the certificate once the Node has been seen, and renew it for ever."""
        await self._keeper.run()

    async def _use(self, certificate: Certificate) -> None:
        # In place: handshakes from now on use the new certificate, connections that exist keep theirs.
        self.context.load_cert_chain(self._file.path)
        log.info("serving.ready", node=self._node_name, addresses=list(certificate.addresses))

    async def _tell(self, advice: str) -> None:
        log.warning("serving.unapproved", node=self._node_name, advice=advice)
        await self._events.emit(
            "Warning", "ServingCertificatePending", f"logs and exec of this node's pods do not work yet: {advice}"
        )
