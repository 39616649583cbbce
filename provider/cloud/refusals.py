"""What the runtime could not do, as a caller of the cloud hears it: RuntimeFault becomes CloudError."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from provider.cloud.backend import ExecSession

RETRY_AFTER: Final = 2.0

_CODES: Final = {
    FaultKind.UNAVAILABLE: CloudCode.UNAVAILABLE,
    FaultKind.UNSUPPORTED: CloudCode.UNSUPPORTED,
    FaultKind.START: CloudCode.INCORRECT_STATUS,
}


@contextmanager
def as_cloud_errors() -> Iterator[None]:
    """Turn a fault of the runtime into the cloud's refusal."""
    try:
        yield
    except RuntimeFault as fault:
        code = _CODES.get(fault.kind, CloudCode.INTERNAL)
        raise CloudError(code, fault.message, RETRY_AFTER if code is CloudCode.UNAVAILABLE else None) from fault


class RefusingExec:
    """An ExecSession of the runtime whose faults are told as CloudError: the engine may go away at any time in it."""

    def __init__(self, session: ExecSession) -> None:
        self._session = session

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """See ExecSession."""
        with as_cloud_errors():
            async for piece in self._session.output():
                yield piece

    async def write(self, data: bytes) -> None:
        """See ExecSession."""
        with as_cloud_errors():
            await self._session.write(data)

    async def close_stdin(self) -> None:
        """See ExecSession."""
        with as_cloud_errors():
            await self._session.close_stdin()

    async def resize(self, width: int, height: int) -> None:
        """See ExecSession."""
        with as_cloud_errors():
            await self._session.resize(width, height)

    async def wait(self) -> int:
        """See ExecSession."""
        with as_cloud_errors():
            return await self._session.wait()

    async def close(self) -> None:
        """See ExecSession."""
        with as_cloud_errors():
            await self._session.close()
