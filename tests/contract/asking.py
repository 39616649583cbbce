"""What several suites ask of a backend."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from provider.cloud.backend import LogOptions
from provider.model.errors import CloudError
from provider.model.ids import PodUid
from provider.model.instance import InstancePhase

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from provider.cloud.backend import ElasticBackend
    from provider.model.instance import Instance

UNKNOWN = PodUid("nobody")


def released(instance: Instance) -> bool:
    return instance.released


def running(instance: Instance) -> bool:
    return instance.phase is InstancePhase.RUNNING


async def refusal(awaitable: Awaitable[object]) -> CloudError:
    with pytest.raises(CloudError) as caught:
        await awaitable
    return caught.value


async def output(backend: ElasticBackend, uid: PodUid, container: str, options: LogOptions | None = None) -> bytes:
    async with aclosing(backend.logs(uid, container, LogOptions() if options is None else options)) as pieces:
        return b"".join([piece async for piece in pieces])
