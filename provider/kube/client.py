"""The API server by raw JSON: kubernetes_asyncio reads the kubeconfig and holds the connection, msgspec the JSON.

Objects are plain dictionaries: the typed models of the library cost several times the CPU and drop fields they do not
know. Paths are API paths (`/api/v1/namespaces/default/pods/x`); subresources are paths too (`.../status`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import aiohttp
import msgspec
from kubernetes_asyncio.config import new_client_from_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

Json = dict[str, Any]
PatchKind = Literal["strategic", "merge", "apply"]

PATCH_TYPES: dict[PatchKind, str] = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
REQUEST_SECONDS = 30.0
HTTP_ERROR = 400


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

    def watch(self, path: str, query: Mapping[str, str], idle_seconds: float) -> AsyncIterator[Json]:
        """Yield `{"type", "object"}` lines until the server ends the watch; silence over `idle_seconds` is an error."""
        ...


class HttpKubeApi:
    """KubeApi over HTTP; make it by `from_kubeconfig`, and close it."""

    def __init__(self, client: Any) -> None:
        """Take a kubernetes_asyncio ApiClient."""
        self._client = client

    @classmethod
    async def from_kubeconfig(cls, path: str) -> HttpKubeApi:
        """Read a kubeconfig's current context."""
        return cls(await new_client_from_config(config_file=path, persist_config=False))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

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

    async def watch(self, path: str, query: Mapping[str, str], idle_seconds: float) -> AsyncIterator[Json]:
        """See KubeApi."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=idle_seconds)
        try:
            async with await self._send("GET", path, {**query, "watch": "true"}, None, "", timeout) as response:
                if response.status >= HTTP_ERROR:
                    raise _failure(response, await response.read())
                # Not readline: it refuses lines over the buffer's limit, and a large pod is one line.
                rest = bytearray()
                async for chunk in response.content.iter_any():
                    rest += chunk
                    if b"\n" not in chunk:
                        continue
                    *lines, rest = rest.split(b"\n")
                    for line in filter(None, lines):
                        yield msgspec.json.decode(line)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise KubeError(0, type(error).__name__, str(error)) from error

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        try:
            async with await self._send(method, path, query, body, content_type, timeout) as response:
                raw = await response.read()
                if response.status >= HTTP_ERROR:
                    raise _failure(response, raw)
                answer: Json = msgspec.json.decode(raw)
                return answer
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise KubeError(0, type(error).__name__, str(error)) from error

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Json | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (aiohttp's own, of connect and read apart)
    ) -> aiohttp.ClientResponse:
        headers: dict[str, str] = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        await self._client.update_params_for_auth(headers, [], ["BearerToken"])
        rest = self._client.rest_client
        response: aiohttp.ClientResponse = await rest.pool_manager.request(
            method,
            self._client.configuration.host + path,
            params=query,
            data=None if body is None else msgspec.json.encode(body),
            headers=headers,
            timeout=timeout,
            proxy=rest.proxy,
            server_hostname=rest.server_hostname,
        )
        return response


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
