"""Answers are remembered as long as the kubelet remembers them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from provider.kube.auth_review import ACCESS_REVIEWS, TOKEN_REVIEWS, AuthReviews, Decision, User, cluster_client_ca
from provider.kube.client import HttpKubeApi, KubeError


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


class ReviewApi(HttpKubeApi):
    """Answers with the given status; keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(None)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.status: dict[str, Any] = {}
        self.failure: KubeError | None = None
        self.config: dict[str, Any] = {}
        self.pause = asyncio.Event()
        self.pause.set()

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body["spec"]))
        await self.pause.wait()
        if self.failure is not None:
            raise self.failure
        return {**body, "status": self.status}

    async def get(self, path: str, query: Any = None) -> dict[str, Any]:
        return self.config


@pytest.fixture
def api() -> ReviewApi:
    return ReviewApi()


@pytest.fixture
def clock() -> Clock:
    return Clock()


ALICE = {"username": "alice", "uid": "1", "groups": ["devs"], "extra": {"scopes": ["a", "b"]}}


async def test_a_token_is_reviewed_once_in_two_minutes(api: ReviewApi, clock: Clock) -> None:
    reviews = AuthReviews(api, clock=clock)
    api.status = {"authenticated": True, "user": ALICE}
    expected = User(name="alice", uid="1", groups=("devs",), extra=(("scopes", ("a", "b")),))
    assert await reviews.authenticate("t") == expected
    clock.time = 119.0
    assert await reviews.authenticate("t") == expected
    assert api.asked == [(TOKEN_REVIEWS, {"token": "t"})]
    clock.time = 120.0
    api.status = {"authenticated": False, "user": ALICE, "error": "expired"}
    assert await reviews.authenticate("t") is None
    assert len(api.asked) == 2


async def test_another_token_is_another_question(api: ReviewApi, clock: Clock) -> None:
    reviews = AuthReviews(api, clock=clock)
    api.status = {"authenticated": True, "user": ALICE}
    await reviews.authenticate("t")
    api.status = {}
    assert await reviews.authenticate("u") is None


async def test_a_failure_is_not_remembered(api: ReviewApi, clock: Clock) -> None:
    reviews = AuthReviews(api, clock=clock)
    api.failure = KubeError(503, "ServiceUnavailable", "")
    with pytest.raises(KubeError):
        await reviews.authenticate("t")
    api.failure = None
    api.status = {"authenticated": True, "user": ALICE}
    assert await reviews.authenticate("t") is not None


async def test_who_asks_at_the_same_time_shares_the_answer(api: ReviewApi, clock: Clock) -> None:
    reviews = AuthReviews(api, clock=clock)
    api.status = {"authenticated": True, "user": ALICE}
    api.pause.clear()
    asking = asyncio.gather(*(reviews.authenticate("t") for _ in range(20)))
    asyncio.get_running_loop().call_soon(api.pause.set)  # after all twenty have begun
    answers = await asking
    assert {answer.name for answer in answers if answer is not None} == {"alice"}
    assert len(api.asked) == 1


async def test_an_allowed_access_holds_five_minutes_a_refused_one_thirty_seconds(api: ReviewApi, clock: Clock) -> None:
    reviews = AuthReviews(api, clock=clock)
    user = User(name="alice", uid="1", groups=("devs",), extra=(("scopes", ("a",)),))
    api.status = {"allowed": False, "reason": "no rule"}
    assert await reviews.authorize(user, "get", "nodes", "proxy", "n") == Decision(allowed=False, reason="no rule")
    attributes = {"verb": "get", "version": "v1", "resource": "nodes", "subresource": "proxy", "name": "n"}
    asked = {"user": "alice", "groups": ["devs"], "uid": "1", "extra": {"scopes": ["a"]}}
    assert api.asked == [(ACCESS_REVIEWS, {**asked, "resourceAttributes": attributes})]
    clock.time = 30.0
    api.status = {"allowed": True, "reason": "rule"}
    assert (await reviews.authorize(user, "get", "nodes", "proxy", "n")).allowed
    clock.time = 329.0
    api.status = {}
    assert (await reviews.authorize(user, "get", "nodes", "proxy", "n")).allowed
    assert not (await reviews.authorize(user, "get", "nodes", "log", "n")).allowed
    clock.time = 330.0
    assert not (await reviews.authorize(user, "get", "nodes", "proxy", "n")).allowed


async def test_allowed_and_denied_at_once_is_denied(api: ReviewApi, clock: Clock) -> None:
    api.status = {"allowed": True, "denied": True}
    reviews = AuthReviews(api, clock=clock)
    assert not (await reviews.authorize(User(name="a"), "get", "nodes", "proxy", "n")).allowed


async def test_the_memory_is_bounded_and_drops_what_is_unused_for_longest(api: ReviewApi, clock: Clock) -> None:
    reviews = AuthReviews(api, clock=clock, entries=2)
    api.status = {"authenticated": True, "user": ALICE}
    for token in ("a", "b", "a", "c", "a", "b"):
        await reviews.authenticate(token)
    assert [spec["token"] for _, spec in api.asked] == ["a", "b", "c", "b"]


async def test_the_client_ca_is_read_from_what_the_server_publishes(api: ReviewApi) -> None:
    api.config = {"data": {"client-ca-file": "PEM", "requestheader-client-ca-file": "other"}}
    assert await cluster_client_ca(api) == "PEM"
    api.config = {}
    assert await cluster_client_ca(api) == ""
