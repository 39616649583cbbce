"""What operators said of stock, kept in the journal: one setting per zone, written before it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from provider.cloud.capacity.stock import check_change, merged
from provider.model.errors import CloudCode, CloudError
from provider.model.stock import GENERIC, StockChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.cloud.instances.journal import Journal
    from provider.model.ids import ZoneId

log = structlog.get_logger(__name__)

_PREFIX = "stock/"
_DECODER = msgspec.json.Decoder(tuple[StockChange, ...])
_NOTHING = b"[]"


class StockOverrides:
    """The overrides of one installation; every method goes to the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def of(self, zone: ZoneId) -> StockChange | None:
        """Return what holds for the zone, None for the configuration. What cannot be read is told, and left out."""
        row = self._journal.setting(_PREFIX + zone)
        if row is None:
            return None
        try:
            said = _DECODER.decode(row)
        except msgspec.MsgspecError as error:
            log.warning("stock.override_cannot_be_read", zone=zone, error=str(error), holds="the configuration")
            return None
        return next((each for each in said if each.family == GENERIC), None)

    def say(self, change: StockChange, zones: Sequence[ZoneId]) -> StockChange:
        """Keep what is said, beside what was said before, and return both together. See CloudAdmin.set_stock."""
        _check_zone(change.zone, zones)
        check_change(change)
        if change.family != GENERIC:
            text = f"zone {change.zone} sells no family {change.family}; it sells: {GENERIC}"
            raise CloudError(CloudCode.INVALID_PARAMETER, text)
        earlier = self.of(change.zone)
        said = change if earlier is None else merged(earlier, change)
        self._journal.store_setting(_PREFIX + change.zone, msgspec.json.encode((said,)))
        return said

    def take_back(self, zone: ZoneId, zones: Sequence[ZoneId]) -> None:
        """Forget what was said of a zone. See CloudAdmin.reset_stock."""
        _check_zone(zone, zones)
        self._journal.store_setting(_PREFIX + zone, _NOTHING)


def _check_zone(zone: ZoneId, zones: Sequence[ZoneId]) -> None:
    if zone not in zones:
        text = f"zone {zone} is not on sale; there are: {', '.join(zones) or 'none'}"
        raise CloudError(CloudCode.ZONE_NOT_ON_SALE, text)
