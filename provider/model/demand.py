"""What a node's pods take: as the scheduler counts them, and of what the cloud has not been asked for yet. No I/O."""

from __future__ import annotations

from msgspec import Struct

from provider.model.stock import Amounts


class Demand(Struct, frozen=True):
    """`counted`: all bound pods that have not ended, by their requests, as kube-scheduler takes them off allocatable.

    `coming`: those of them that the cloud has neither sold nor queued, by the sizes that it will be asked for.
    """

    counted: Amounts = Amounts()
    coming: Amounts = Amounts()
