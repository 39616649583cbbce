"""What the rest of the provider has of a cloud, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from provider.cloud.admin import CloudAdmin
    from provider.cloud.backend import ElasticBackend
    from provider.kubelet_ports import KubeletPort
    from provider.model.ids import ZoneId

__all__ = ["CloudSide"]


@dataclass(frozen=True, kw_only=True)
class CloudSide:
    """The cloud as the rest sees it. `run` keeps it going until cancelled and sets the event once it serves.

    `admin` is None for a cloud elsewhere: its own process serves its operators.
    """

    backend: ElasticBackend
    ports: dict[ZoneId, KubeletPort]
    run: Callable[[asyncio.Event], Awaitable[None]]
    admin: CloudAdmin | None = None
