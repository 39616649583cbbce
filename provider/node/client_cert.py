"""A node's own credential: the client certificate of `system:node:<name>`, and the kubeconfig that uses it.

Asked for with the provider's credential, whose right `certificatesigningrequests/nodeclient` lets upstream's
csrapproving controller approve it. Layout, as the kubelet's: `<node>.kubeconfig` names the files `<node>.pem` (key and
certificate) and `<node>.ca.crt`; a renewal replaces `<node>.pem`, and clients that read the kubeconfig again have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from provider.kube.private_file import write_private
from provider.node.certificate import CertificateFile, Wanted
from provider.node.keeper import CertificateKeeper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.kube.client import KubeApi
    from provider.kube.connection import Connection
    from provider.node.certificate import Certificate

log = structlog.get_logger(__name__)

APPROVAL_SECONDS = 60.0
"""How long a start waits for a node's certificate: the approving controller needs about a second."""


class NodeCredential:
    """The credential of one node, below `directory`; `ensure` before use, `run` beside it."""

    def __init__(
        self,
        api: KubeApi,
        connection: Connection,
        node_name: str,
        directory: Path,
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        """Ask with the provider's own client `api`; the node is to speak to the server of `connection`."""
        directory = directory.absolute()
        self.kubeconfig = directory / f"{node_name}.kubeconfig"
        self._node_name = node_name
        self._connection = connection
        self._ca = directory / f"{node_name}.ca.crt"
        self._file = CertificateFile(directory, node_name, connection.ca)
        self._renewed: Callable[[], Awaitable[None]] | None = None
        self._keeper = CertificateKeeper(api, self._file, clock=clock, random=random, told=self._tell, use=self._use)
        self._keeper.want(Wanted(node=node_name, kind="client"))

    async def ensure(self, seconds: float = APPROVAL_SECONDS) -> Path:
        """Return the kubeconfig with a credential that is good now; what is stored is used again.

        Raises SigningPendingError (nobody approved in `seconds`; names the command), SigningRefusedError (denied), and
        KubeError where the provider may not ask.
        """
        await self._keeper.ensure(seconds)
        return self.kubeconfig

    async def run(self, renewed: Callable[[], Awaitable[None]]) -> None:
        """Renew for ever; after each renewal `renewed` is awaited (`HttpKubeApi.reload` of the node's client)."""
        self._renewed = renewed
        await self._keeper.run()

    async def _use(self, certificate: Certificate) -> None:
        if self._connection.ca:
            write_private(self._ca, self._connection.ca)
        user = {"client-certificate": str(self._file.path), "client-key": str(self._file.path)}
        write_private(self.kubeconfig, self._connection.kubeconfig(certificate.user, user, self._ca))
        if self._renewed is not None:
            await self._renewed()

    async def _tell(self, advice: str) -> None:
        log.warning(
            "certificate.unapproved",
            node=self._node_name,
            advice=advice,
            why="kube-controller-manager approves it by itself where the provider may create "
            "certificatesigningrequests/nodeclient (deploy/kustomize/base)",
        )
