"""Who may use the kubelet port: paths to subresources as upstream maps them, and what a refused caller reads."""

from __future__ import annotations

import pytest

from provider.kube.auth_review import Decision, User
from provider.kube.client import KubeError
from provider.kubelet.access import Access, AccessDenied, bearer_token, subresources, verb

ADMIN = User(name="admin", groups=("system:masters",))


class Reviews:
    """The API server's answers, counted."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)
        self.tokens: dict[str, User] = {"good": User(name="bot")}
        self.asked: list[tuple[str, str, str]] = []
        self.reviewed: list[str] = []
        self.away = False

    async def authenticate(self, token: str) -> User | None:
        self.reviewed.append(token)
        self._answer()
        return self.tokens.get(token)

    async def authorize(self, user: User, verb: str, resource: str, subresource: str, name: str) -> Decision:
        assert (resource, name) == ("nodes", "node-a")
        self.asked.append((user.name, verb, subresource))
        self._answer()
        return Decision(subresource in self.allowed)

    def _answer(self) -> None:
        if self.away:
            raise KubeError(0, "ClientConnectorError", "connection refused")


def door(reviews: Reviews) -> Access:
    return Access(reviews, "node-a")  # type: ignore[arg-type]


async def refused(access: Access, *caller: object) -> AccessDenied:
    with pytest.raises(AccessDenied) as denied:
        await access.admit(*caller)  # type: ignore[arg-type]
    return denied.value


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/pods", ("pods", "proxy")),
        ("/runningpods/", ("pods", "proxy")),
        ("/allocatedPods/default/x", ("pods", "proxy")),
        ("/healthz", ("healthz", "proxy")),
        ("/healthz/ping", ("healthz", "proxy")),
        ("/configz", ("configz", "proxy")),
        ("/healthzz", ("proxy",)),
        ("/stats/summary", ("stats",)),
        ("/metrics", ("metrics",)),
        ("/metrics/cadvisor", ("metrics",)),
        ("/logs/", ("log",)),
        ("/checkpoint/ns/pod/c", ("checkpoint",)),
        ("/statusz", ("statusz",)),
        ("/flagz", ("configz",)),
        ("/exec/ns/pod/c", ("proxy",)),
        ("/containerLogs/ns/pod/c", ("proxy",)),
        ("/", ("proxy",)),
    ],
)
def test_subresources_of_paths(path: str, names: tuple[str, ...]) -> None:
    assert subresources(path) == names


def test_verbs() -> None:
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
    assert [verb(method) for method in methods] == ["get", "create", "update", "patch", "delete", ""]


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer x", "x"), ("bearer  x", ""), (" Bearer x y", "x"), ("Basic x", ""), ("", ""), ("Bearer", "")],
)
def test_bearer_tokens(header: str, token: str) -> None:
    assert bearer_token(header) == token


async def test_a_certificate_needs_no_token_review() -> None:
    reviews = Reviews("proxy")
    assert await door(reviews).admit(ADMIN, "Bearer bad", "POST", "/exec/a/b/c") == ADMIN
    assert reviews.asked == [("admin", "create", "proxy")]
    assert reviews.reviewed == []


async def test_a_token_is_reviewed() -> None:
    assert (await door(Reviews("proxy")).admit(None, "Bearer good", "GET", "/exec/a/b/c")).name == "bot"


@pytest.mark.parametrize("header", ["", "Bearer bad", "Basic good"])
async def test_nobody_comes_in_unnamed(header: str) -> None:
    reviews = Reviews("proxy")
    denied = await refused(door(reviews), None, header, "GET", "/pods")
    assert (denied.status, denied.text, reviews.asked) == (401, "Unauthorized", [])


async def test_either_subresource_is_enough() -> None:
    for allowed in ("pods", "proxy"):
        await door(Reviews(allowed)).admit(ADMIN, "", "GET", "/pods")


async def test_what_a_forbidden_caller_reads() -> None:
    denied = await refused(door(Reviews("healthz")), ADMIN, "", "GET", "/pods")
    assert denied.status == 403
    assert denied.text == "Forbidden (user=admin, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"


async def test_an_api_server_that_is_away_lets_nobody_in() -> None:
    reviews = Reviews("proxy")
    reviews.away = True
    assert (await refused(door(reviews), None, "Bearer good", "GET", "/pods")).status == 401
    denied = await refused(door(reviews), ADMIN, "", "GET", "/stats/summary")
    assert denied.status == 500
    assert denied.text == "Authorization error (user=admin, verb=get, resource=nodes, subresource=stats)"
    reviews.away = False
    reviews.allowed = {"stats"}
    await door(reviews).admit(ADMIN, "", "GET", "/stats/summary")
