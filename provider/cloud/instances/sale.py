"""What was sold of the sizes that a request names, written down before anything is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.specs import size_of, sold_as

if TYPE_CHECKING:
    from provider.cloud.capacity.ledger import Size
    from provider.cloud.instances.entry import Entry
    from provider.cloud.instances.journal import Journal


def take_size(entry: Entry, size: Size | None, journal: Journal) -> None:
    """Let the instance have the size that was sold; its request keeps the list of what was asked for.

    A crash before the place itself is written leaves an instance that asks again, for all its sizes.
    """
    request = entry.machine.request
    if size is None or entry.machine.released or size == size_of(request):
        return
    sold = sold_as(request, size)
    journal.save_request(sold, entry.row)
    entry.machine.update(sold)
