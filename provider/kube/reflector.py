"""Keep a Store equal to a collection of the API server: list, watch, list again when the server forgot our version.

Upstream: client-go `tools/cache/reflector.go` (server timeouts of 5 to 10 minutes at random, list from the watch cache,
bookmarks, 410 relists); a jittered back-off after failures. A watch that is silent for too long is begun anew.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from provider.kube.client import IDLE, KubeApi, KubeError
from provider.kube.store import Change, Store
from provider.observability.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.kube.store import Json

log = structlog.get_logger(__name__)

GONE = 410
WATCH_SECONDS = 300
"""client-go: minWatchTimeout."""
IDLE_SECONDS = 75.0
"""How long a watch may be silent. The watch cache sends a bookmark every minute (upstream:
`apiserver/pkg/storage/cacher`, defaultBookmarkFrequency): more than that, and nobody is there any more, whatever the
kernel says of the connection. A server that sends none is asked again from the same version, which costs little."""
BACKOFF_FIRST_SECONDS = 0.8
BACKOFF_MAX_SECONDS = 30.0
AWAY_MAX_SECONDS = 10.0
"""A server that does not answer at all is asked again sooner than one that refuses: asking costs it nothing."""


class Reflector:
    """One collection, one store, one receiver of changes; run it as a task of a TaskGroup."""

    def __init__(
        self,
        api: KubeApi,
        path: str,
        query: Mapping[str, str],
        receive: Callable[[Change], Awaitable[None]],
        *,
        clock: Clock,
        random: Random,
        listed: Callable[[], None] | None = None,
        watch_seconds: int = WATCH_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Take the collection's path and selectors (`fieldSelector`, `labelSelector`).

        `listed` is called after each whole list, when its changes have been received. The server is asked to end a
        watch after `watch_seconds`, up to twice as long at random.
        """
        self.store = Store()
        self.synced = False
        """True from the first whole list on."""
        self._api = api
        self._path = path
        self._query = dict(query)
        self._receive = receive
        self._listed = listed
        self._clock = clock
        self._random = random
        self._watch_seconds = watch_seconds
        self._version = ""
        self._list_version = "0"
        self._idle_seconds = idle_seconds
        self._failures = 0
        self._expired = False
        """True from a version that the server refused to the first line of a watch."""
        self._trouble = Trouble(log, clock, "watch.failed", "watch.goes_on", path=path, **query)

    async def run(self) -> None:
        """List and watch until cancelled; failures of the API server are logged and tried again."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except KubeError as error:
                await self._after(error)

    async def _list(self) -> None:
        listed = await self._api.list(self._path, {**self._query, "resourceVersion": self._list_version})
        for change in self.store.replace(listed["items"]):
            await self._receive(change)
        self._version = listed["metadata"]["resourceVersion"]
        self.synced = True
        self._trouble.over()
        if self._listed is not None:
            self._listed()

    async def _watch(self) -> None:
        seconds = int(self._watch_seconds * (1 + self._random.random()))
        query = {
            **self._query,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        lines = 0
        async with aclosing(self._api.watch(self._path, query, self._idle_seconds)) as watch:
            async for line in watch:
                await self._take(line["type"], line["object"])
                lines += 1
                self._failures = 0
                self._expired = False
                self._trouble.over()
        if lines == 0:
            # A server that ends watches at once must not be asked in a tight loop.
            await self._clock.sleep(self._random.uniform(BACKOFF_FIRST_SECONDS, 2 * BACKOFF_FIRST_SECONDS))

    async def _take(self, kind: str, item: Json) -> None:
        if kind == "ERROR":
            raise KubeError(item.get("code", 0), item.get("reason", ""), item.get("message", ""))
        if kind != "BOOKMARK":
            change = self.store.remove(item) if kind == "DELETED" else self.store.put(item)
            if change is not None:
                await self._receive(change)
        self._version = item["metadata"]["resourceVersion"]

    async def _after(self, error: KubeError) -> None:
        if error.reason == IDLE:
            log.debug("watch.silent", path=self._path, error=str(error))
            self._failures = 0  # the server had begun to answer
            self._expired = False
            self._trouble.over()
            return  # the way may be dead, or nothing has happened: the next request tells
        if error.code == GONE and self._version:
            log.info("watch.expired", path=self._path, version=self._version, **self._query)
            self._version = ""
            # The watch cache may be as old as the version that it refused: ask etcd from now on.
            self._list_version = ""
            again, self._expired = self._expired, True
            if not again:
                self._failures = 0  # it answers: what it was away before does not count
                return
        longest = AWAY_MAX_SECONDS if error.code == 0 else BACKOFF_MAX_SECONDS
        ceiling = min(longest, BACKOFF_FIRST_SECONDS * 2**self._failures)
        delay = max(error.retry_after or 0.0, ceiling * self._random.uniform(0.5, 1.0))
        self._failures = min(self._failures + 1, 10)
        self._trouble.began(error.code, error=str(error), retry_seconds=round(delay, 1))
        await self._clock.sleep(delay)
