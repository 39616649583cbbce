"""What the operator of a cloud may do that nobody does who only buys from it. The contract; its errors are CloudError.

Two implementations: `cloud.local.LocalBackend` in this process, `rpc.client.RemoteBackend` over gRPC. What is said here
is durable when the call returns, holds over restarts, and is taken back by `reset_stock` only. What sells and what does
not is told by ElasticBackend.describe_zones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from provider.model.capacity import ZoneStatus
    from provider.model.ids import ZoneId
    from provider.model.stock import StockChange


class CloudAdmin(Protocol):
    """The operator's side of a cloud."""

    async def set_stock(self, change: StockChange) -> ZoneStatus:
        """Let the pool be what is said from now on; what is not said stays. Running instances are never touched.

        A pool made smaller than what is sold sells nothing until enough has ended. INVALID_PARAMETER for what no pool
        can be, or for a family that is not sold there; ZONE_NOT_ON_SALE for an unknown zone.
        """
        ...

    async def reset_stock(self, zone: ZoneId) -> ZoneStatus:
        """Let the configuration hold again for all pools of a zone; ZONE_NOT_ON_SALE. Nothing said before: no error."""
        ...
