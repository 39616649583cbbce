"""A log that is asked for while its container is being removed."""

from __future__ import annotations

from contextlib import aclosing
from types import SimpleNamespace
from typing import Any, cast

import pytest

from provider.cloud.backend import LogOptions
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.logs import read_logs


class Response:
    """The engine's refusal of a log."""

    content_type = "application/json"

    def __init__(self, status: int) -> None:
        self.status = status

    async def text(self) -> str:
        return '{"message": "can not get logs"}'

    def close(self) -> None:
        return


def client(status: int) -> Any:
    async def request(*_: object, **__: object) -> Response:
        return Response(status)

    return SimpleNamespace(api_version="1.41", docker_host="http://engine", session=SimpleNamespace(request=request))


async def read(status: int, *, follow: bool) -> bytes:
    logs = read_logs(cast("Any", client(status)), "c", LogOptions(follow=follow), tty=False)
    async with aclosing(logs) as pieces:
        return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("status", [404, 409])
async def test_it_says_nothing(status: int, follow: bool) -> None:
    assert await read(status, follow=follow) == b""


async def test_another_refusal_is_told() -> None:
    with pytest.raises(RuntimeFault, match="can not get logs") as caught:
        await read(500, follow=False)
    assert caught.value.kind is not FaultKind.UNAVAILABLE
