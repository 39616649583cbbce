"""Gives pods that wait in a zone without stock to a zone that has some: one for all nodes of the provider."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from provider.kube.client import KubeError
from provider.model.errors import CloudError
from provider.model.stock import Amounts
from provider.pods.rebind import added, moves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.model.ids import ZoneId
    from provider.pods.controller import PodController
    from provider.pods.rebind import Move

log = structlog.get_logger(__name__)

SPACING_SECONDS = 1.0
CLAIM_SECONDS = 5.0
"""How long a move holds its room in the other zone: meanwhile the pod is made anew and bound."""


class Rebinder:
    """Nodes join while they live; `wake` when stock has changed or a pod waits; `run` as a task."""

    def __init__(self, backend: ElasticBackend, *, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._nodes: dict[ZoneId, PodController] = {}
        self._claims: list[tuple[float, ZoneId, Amounts]] = []
        self._wake = asyncio.Event()

    @contextmanager
    def joined(self, controller: PodController) -> Iterator[None]:
        """Have a node take part for the time of the block."""
        self._nodes[controller.zone] = controller
        try:
            yield
        finally:
            if self._nodes.get(controller.zone) is controller:
                del self._nodes[controller.zone]

    def wake(self) -> None:
        """Look soon."""
        self._wake.set()

    async def run(self) -> None:
        """Move pods until cancelled. As long as anybody waits it looks once in a while: claims run out."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if await self._look():
                    self._wake.set()
            except (CloudError, KubeError) as error:
                log.warning("rebind.failed", error=str(error), retry_seconds=SPACING_SECONDS)
                self._wake.set()
            await self._clock.sleep(SPACING_SECONDS)

    async def _look(self) -> bool:
        """Move whom there is room for; tell whether there are others who wait."""
        labels = {zone: (node.node_name, node.node_labels) for zone, node in self._nodes.items()}
        waiters = [waiter for node in self._nodes.values() for waiter in node.waiters(labels)]
        if not waiters:
            return False
        zones = await self._backend.describe_zones()
        now = self._clock.now()
        self._claims = [claim for claim in self._claims if claim[0] > now]
        claimed: dict[ZoneId, Amounts] = {}
        for _, zone, size in self._claims:
            claimed[zone] = added(claimed.get(zone, Amounts()), size)
        for move in moves(waiters, zones, claimed):
            await self._move(move)
        return True

    async def _move(self, move: Move) -> None:
        waiter = move.waiter
        node = self._nodes.get(waiter.zone)
        if node is not None and await node.rebind(waiter.uid, move.to):
            self._claims.append((self._clock.now() + CLAIM_SECONDS, move.to, waiter.size))
            log.info("pod.rebound", uid=waiter.uid, zone=waiter.zone, to=move.to)
