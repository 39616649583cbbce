"""Faults of the runtime as the cloud tells them, also in the middle of an exec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provider.cloud.refusals import RETRY_AFTER, RefusingExec, as_cloud_errors
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.mark.parametrize(
    ("kind", "code", "retry_after"),
    [
        (FaultKind.UNAVAILABLE, CloudCode.UNAVAILABLE, RETRY_AFTER),
        (FaultKind.UNSUPPORTED, CloudCode.UNSUPPORTED, None),
        (FaultKind.START, CloudCode.INCORRECT_STATUS, None),
        (FaultKind.REFUSED, CloudCode.INTERNAL, None),
    ],
)
def test_kinds(kind: FaultKind, code: CloudCode, retry_after: float | None) -> None:
    with pytest.raises(CloudError) as error, as_cloud_errors():
        raise RuntimeFault(kind, "what the engine said")
    assert (error.value.code, error.value.message) == (code, "what the engine said")
    assert error.value.retry_after == retry_after


class Lost:
    """A session whose engine has gone away."""

    def _fail(self) -> Any:
        raise RuntimeFault(FaultKind.UNAVAILABLE, "gone")

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        yield 1, b"before"
        self._fail()

    async def write(self, data: bytes) -> None:
        self._fail()

    async def close_stdin(self) -> None:
        self._fail()

    async def resize(self, width: int, height: int) -> None:
        self._fail()

    async def wait(self) -> int:
        return int(self._fail())

    async def close(self) -> None:
        self._fail()


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.write(b"x"),
        lambda session: session.close_stdin(),
        lambda session: session.resize(80, 24),
        lambda session: session.wait(),
        lambda session: session.close(),
    ],
)
async def test_an_engine_that_goes_away_in_an_exec(call: Callable[[RefusingExec], Any]) -> None:
    with pytest.raises(CloudError, match="gone"):
        await call(RefusingExec(Lost()))


async def test_what_came_before_is_kept() -> None:
    output = RefusingExec(Lost()).output()
    assert await anext(output) == (1, b"before")
    with pytest.raises(CloudError, match="gone"):
        await anext(output)
