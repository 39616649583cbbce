"""The API server by raw JSON: kubernetes_asyncio reads the kubeconfig, aiohttp holds the connections, msgspec the JSON.

Objects are plain dictionaries: the typed models of the library cost several times the CPU and drop fields they do not
know. Paths are API paths (`/api/v1/namespaces/default/pods/x`); subresources are paths too (`.../status`).
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal, Protocol

import aiohttp
import msgspec
import structlog

from provider.kube.connection import Connection, KubeConfigError, connect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from provider.kube.transport import Transport

log = structlog.get_logger(__name__)

Json = dict[str, Any]
PatchKind = Literal["strategic", "merge", "apply"]

PATCH_TYPES: dict[PatchKind, str] = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
REQUEST_SECONDS = 30.0
"""An answer has come as a whole after this, and a watch has begun, or there is none."""
IDLE = "WatchIdle"
"""KubeError.reason of a watch that had begun, and on which nothing came any more."""
HTTP_ERROR = 400
UNAUTHORIZED = 401


class KubeError(Exception):
    """An answer that is no success, or none at all (code 0); `retry_after` in seconds as the server asked."""

    def __init__(self, code: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class KubeApi(Protocol):
    """What this project asks of an API server; every method raises KubeError."""

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """Return the object at `path`."""
        ...

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """Return the whole list at `path`, its pages joined."""
        ...

    async def create(self, path: str, body: Json) -> Json:
        """POST `body` to `path`: a collection, a subresource or a review."""
        ...

    async def patch(self, path: str, body: Json, kind: PatchKind, query: Mapping[str, str] | None = None) -> Json:
        """PATCH `path`; `apply` needs `fieldManager` in the query."""
        ...

    async def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
    ) -> Json:
        """DELETE `path`, only if UID and resourceVersion still are the given ones (else 409)."""
        ...

    def watch(self, path: str, query: Mapping[str, str], idle_seconds: float) -> AsyncGenerator[Json, None]:
        """Yield `{"type", "object"}` lines until the server ends the watch.

        Silence over `idle_seconds` is an error whose reason is IDLE; ask for bookmarks, which come every minute.
        Who stops reading early closes it (contextlib.aclosing), or its connection stays until the collector comes.
        """
        ...


class HttpKubeApi:
    """KubeApi over HTTP; make it by `from_kubeconfig` or `from_environment`, and close it.

    Credentials that can be read anew (a rewritten kubeconfig, an exec plugin, a token file) are, when the server
    answers 401: once for each request, by one of them for all.
    """

    def __init__(self, transport: Transport | None, connection: Connection | None = None) -> None:
        """Take a transport; `connection` says where its credentials are read anew."""
        self._transport = transport
        self._connection = connection
        self._explicit: tuple[str | None, str | None] = (None, None)
        self._reloading = asyncio.Lock()

    @classmethod
    async def from_kubeconfig(cls, path: str, context: str | None = None) -> HttpKubeApi:
        """Read a kubeconfig, its current context unless one is named; KubeConfigError when it cannot be used."""
        return await cls.from_environment(path, context)

    @classmethod
    async def from_environment(cls, kubeconfig: str | None = None, context: str | None = None) -> HttpKubeApi:
        """Find the credentials as `connection.connect` does: the file, $KUBECONFIG, the pod's own, ~/.kube/config."""
        connection, transport = await connect(kubeconfig, context)
        made = cls(transport, connection)
        made._explicit = (kubeconfig, context)
        return made

    @property
    def connection(self) -> Connection:
        """Return which server this speaks to, with which CA, and where that was read."""
        if self._connection is None:
            raise RuntimeError("this client was not made from a kubeconfig or a pod's service account")
        return self._connection

    async def reload(self) -> None:
        """Read the credentials anew, for example a renewed certificate; requests in flight end as they began."""
        self._connection, fresh = await connect(*self._explicit)
        used, self._transport = self._transport, fresh
        if used is not None:
            await used.retire()

    async def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """See KubeApi."""
        return await self._request("GET", path, query)

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """See KubeApi."""
        page = await self._request("GET", path, query)
        items = page.get("items") or []
        while token := page.get("metadata", {}).get("continue"):
            # A continue token carries its own version; the server refuses both together.
            rest = {k: v for k, v in (query or {}).items() if not k.startswith("resourceVersion")}
            page = await self._request("GET", path, {**rest, "continue": token})
            items += page.get("items") or []
        return {**page, "items": items}

    async def create(self, path: str, body: Json) -> Json:
        """See KubeApi."""
        return await self._request("POST", path, None, body)

    async def patch(self, path: str, body: Json, kind: PatchKind, query: Mapping[str, str] | None = None) -> Json:
        """See KubeApi."""
        return await self._request("PATCH", path, query, body, PATCH_TYPES[kind])

    async def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
    ) -> Json:
        """See KubeApi."""
        conditions = {"uid": uid, "resourceVersion": resource_version}
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if given := {key: value for key, value in conditions.items() if value is not None}:
            body["preconditions"] = given
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        return await self._request("DELETE", path, None, body)

    async def watch(self, path: str, query: Mapping[str, str], idle_seconds: float) -> AsyncGenerator[Json, None]:
        """See KubeApi."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=idle_seconds)
        transport = self._open()
        begun = False
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(REQUEST_SECONDS):
                    sent = transport.send("GET", path, {**query, "watch": "true"}, None, "", timeout, lasting=True)
                    response = await stack.enter_async_context(sent)
                begun = True
                if response.status >= HTTP_ERROR:
                    failure = _failure(response, await response.read())
                    if failure.code == UNAUTHORIZED:
                        await self._renewed(transport)  # for the next attempt, which the caller makes
                    raise failure
                # Not readline: it refuses lines over the buffer's limit, and a large pod is one line.
                rest = bytearray()
                async for chunk in response.content.iter_any():
                    rest += chunk
                    if b"\n" not in chunk:
                        continue
                    *lines, rest = rest.split(b"\n")
                    for line in filter(None, lines):
                        yield msgspec.json.decode(line)
        except TimeoutError as error:
            if begun:
                raise KubeError(0, IDLE, f"nothing has come on this watch for {idle_seconds:.0f} s") from error
            raise _no_answer(error) from error
        except (aiohttp.ClientError, msgspec.DecodeError) as error:
            raise _no_answer(error) from error

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        transport = self._open()
        raw = None if body is None else msgspec.json.encode(body)
        try:
            return await _exchange(transport, method, path, query, raw, content_type)
        except KubeError as error:
            if error.code != UNAUTHORIZED or not await self._renewed(transport):
                raise
        return await _exchange(self._open(), method, path, query, raw, content_type)

    def _open(self) -> Transport:
        if self._transport is None:
            raise RuntimeError("this client has no transport")
        return self._transport

    async def _renewed(self, refused: Transport) -> bool:
        """Say whether there are credentials newer than the refused ones now."""
        if self._connection is None:
            return False
        async with self._reloading:
            if self._transport is refused:
                try:
                    await self.reload()
                except KubeConfigError as error:
                    log.warning("credentials.unreadable", source=self._connection.source, error=str(error))
                    return False
        return True


async def _exchange(
    transport: Transport,
    method: str,
    path: str,
    query: Mapping[str, str] | None,
    body: bytes | None,
    content_type: str,
) -> Json:
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    try:
        async with transport.send(method, path, query, body, content_type, timeout) as response:
            raw = await response.read()
            if response.status >= HTTP_ERROR:
                raise _failure(response, raw)
            answer: Json = msgspec.json.decode(raw)
            return answer
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
        raise _no_answer(error) from error


def _no_answer(error: Exception) -> KubeError:
    """Return the error of a request that ended without a whole answer, in words for a log."""
    text = str(error)
    if isinstance(error, TimeoutError):
        text = text or "no answer in time"
    elif isinstance(error, aiohttp.ClientPayloadError):  # its own text is about transfer encodings
        text = "the connection broke off in the middle of an answer"
    return KubeError(0, type(error).__name__, text)


def _failure(response: aiohttp.ClientResponse, raw: bytes) -> KubeError:
    """Return the error of a metav1.Status, or of whatever a proxy between us said instead."""
    after = response.headers.get("Retry-After", "")
    retry_after = float(after) if after.isdigit() else None
    try:
        status = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict):
        status = {"message": raw.decode(errors="replace")[:500]}
    reason = status.get("reason") or response.reason or ""
    return KubeError(response.status, reason, status.get("message") or "", retry_after)
