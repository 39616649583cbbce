"""Opens the connection to a Docker engine, and the few raw requests whose answer is a stream.

aiodocker's own stream readers stop at lines above 128 KiB, decode bytes to text, and take a broken connection for the
end. What is read here is bytes, of any length, and a broken connection is an error.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from aiodocker import Docker
from aiodocker.exceptions import DockerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

CONNECT_SECONDS = 10.0
CALL_SECONDS = 120.0
"""The longest that the engine may take for one ordinary call: a start on a crowded machine takes seconds."""
_CHUNK = 64 * 1024
_FIRST_ERROR = 400


def open_client(host: str = "") -> Docker:
    """Return a client of the engine at `host` (`unix://`, `tcp://`, `ssh://`).

    An empty one means what it means to `docker`: DOCKER_HOST, the current context, the local socket. The pool has no
    upper limit: every followed log and every stop holds a connection for as long as it lasts, and how much may be in
    flight is bounded by those who ask. Close it with `async with` or `close()`. FileNotFoundError when there is no such
    address to be found, DockerError and ValueError for one that is none.
    """
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)
    try:
        client = Docker(url=host or None, timeout=timeout)
    except AssertionError as error:  # aiodocker's own way to say so
        text = "neither DOCKER_HOST nor a Docker context names an engine, and there is no local socket"
        raise FileNotFoundError(text) from error
    client.connector._limit = 0  # noqa: SLF001 - a connector of our own would have to find the engine by itself
    return client


@asynccontextmanager
async def stream(
    client: Docker,
    method: str,
    path: str,
    params: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
) -> AsyncGenerator[aiohttp.ClientResponse, None]:
    """Give the answer of a request that may go on for ever; DockerError for a refusal, aiohttp.ClientError, OSError.

    A stream that is left is closed, not read to its end.
    """
    if client.api_version == "auto":
        await client.version()  # negotiates
    url = f"{client.docker_host}/{client.api_version}/{path}"
    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    response = await client.session.request(method, url, params=params, headers=headers, timeout=limits)
    try:
        if response.status >= _FIRST_ERROR:
            text = await response.text()
            raise DockerError(response.status, _message(text, response.content_type))
        yield response
    finally:
        response.close()


async def json_lines(response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the JSON objects of a stream, one a line, as long as they come."""
    rest = b""
    async for chunk in response.content.iter_chunked(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
    if rest.strip():
        yield json.loads(rest)


def _message(text: str, content_type: str) -> str:
    return str(json.loads(text)["message"]) if content_type == "application/json" else text.strip()
