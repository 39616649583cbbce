"""List, watch, bookmark, expiry."""

from __future__ import annotations

from random import Random  # noqa: TID251 (a fixed seed)
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from provider.kube.client import IDLE, HttpKubeApi, KubeError
from provider.kube.reflector import Reflector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from provider.kube.store import Change


class DoneError(Exception):
    """The script is at its end."""


class Clock:
    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class ScriptedApi(HttpKubeApi):
    """Plays lists and watches in order; an error in a script is raised."""

    def __init__(self, lists: list[Any], watches: list[list[Any]]) -> None:
        super().__init__(None)
        self.lists, self.watches = lists, watches
        self.queries: list[dict[str, str]] = []

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        self.queries.append(dict(query or {}))
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    async def watch(self, path: str, query: Mapping[str, str], idle_seconds: float) -> AsyncIterator[dict[str, Any]]:
        self.queries.append(dict(query))
        assert 60 < idle_seconds < 90  # bookmarks come every minute
        if not self.watches:
            raise DoneError
        for line in self.watches.pop(0):
            if isinstance(line, Exception):
                raise line
            yield line


def pod(uid: str, version: str) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": version}}


def listed(version: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}, "items": list(items)}


def line(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": item}


async def play(api: ScriptedApi) -> tuple[list[str], Clock]:
    seen: list[str] = []
    clock = Clock()

    async def receive(change: Change) -> None:
        seen.append(f"{change.kind} {change.new['metadata']['uid']}")

    reflector = Reflector(api, "/api/v1/pods", {"fieldSelector": "x"}, receive, clock=clock, random=Random(1))
    with pytest.raises(DoneError):
        await reflector.run()
    return seen, clock


async def test_the_watch_goes_on_from_the_bookmark() -> None:
    watch = [
        line("ADDED", pod("b", "6")),
        line("MODIFIED", pod("a", "7")),
        line("DELETED", pod("b", "8")),
        line("BOOKMARK", {"metadata": {"resourceVersion": "90"}}),
    ]
    api = ScriptedApi([listed("5", pod("a", "1"))], [watch])
    seen, clock = await play(api)
    assert seen == ["added a", "added b", "modified a", "deleted b"]
    assert [query["resourceVersion"] for query in api.queries] == ["0", "5", "90"]
    assert {query["fieldSelector"] for query in api.queries} == {"x"}
    assert clock.slept == []


async def test_gone_lists_again_and_tells_what_was_missed() -> None:
    expired = line("ERROR", {"code": 410, "reason": "Expired", "message": "too old"})
    lists = [listed("5", pod("a", "1")), listed("50", pod("c", "40"))]
    api = ScriptedApi(lists, [[expired], [line("BOOKMARK", pod("", "51"))]])
    seen, clock = await play(api)
    assert [query["resourceVersion"] for query in api.queries] == ["0", "5", "", "50", "51"]
    assert seen == ["added a", "deleted a", "added c"]
    assert clock.slept == []


async def test_a_server_that_is_back_with_an_expired_version_is_asked_for_all_at_once() -> None:
    down = KubeError(0, "ClientConnectorError", "no route")
    expired = line("ERROR", {"code": 410, "reason": "Expired", "message": "too old"})
    lists = [listed("5", pod("a", "1")), listed("50", pod("c", "40")), listed("60", pod("d", "60"))]
    api = ScriptedApi(lists, [[down], [down], [down], [expired], [expired], [line("BOOKMARK", pod("", "61"))]])
    seen, clock = await play(api)
    assert seen == ["added a", "deleted a", "added c", "deleted c", "added d"]
    assert [query["resourceVersion"] for query in api.queries] == ["0", *["5"] * 4, "", "50", "", "60", "61"]
    assert len(clock.slept) == 4, "three times while it was away; again only when the newest list has expired too"
    assert clock.slept[3] < clock.slept[2]


async def test_failures_back_off_and_keep_the_version() -> None:
    down = KubeError(0, "ClientConnectorError", "no route")
    busy = KubeError(429, "TooManyRequests", "", retry_after=12)
    api = ScriptedApi([busy, listed("5")], [[down], [down], []])
    _, clock = await play(api)
    assert clock.slept[0] == 12
    assert len(clock.slept) == 4
    assert [query["resourceVersion"] for query in api.queries] == ["0", "0", "5", "5", "5", "5"]


async def test_a_silent_watch_begins_anew_at_once_where_it_was() -> None:
    silence = KubeError(0, IDLE, "nothing has come")
    bookmark = line("BOOKMARK", {"metadata": {"resourceVersion": "90"}})
    api = ScriptedApi([listed("5", pod("a", "1"))], [[bookmark, silence], [silence], [silence]])
    with structlog.testing.capture_logs() as logs:
        seen, clock = await play(api)
    assert seen == ["added a"]
    assert [query["resourceVersion"] for query in api.queries] == ["0", "5", "90", "90", "90"]
    assert clock.slept == []
    assert all(each["log_level"] == "debug" for each in logs)


async def test_a_watch_that_begins_ends_the_trouble_even_if_nothing_comes() -> None:
    down, silence = KubeError(0, "ClientConnectorError", "no route"), KubeError(0, IDLE, "nothing has come")
    api = ScriptedApi([listed("5")], [[down], [down], [down], [silence], [down]])
    with structlog.testing.capture_logs() as logs:
        _, clock = await play(api)
    told = [each["event"] for each in logs if each["log_level"] != "debug"]
    assert told == ["watch.failed", "watch.goes_on", "watch.failed"]
    assert clock.slept[3] < clock.slept[2]
