"""Who calls the kubelet port, and may they: TokenReview and SubjectAccessReview, remembered for a while.

Upstream: `apiserver/plugin/pkg/{authenticator/token,authorizer}/webhook` behind their caches, with the kubelet's times
(`pkg/kubelet/apis/config/v1beta1/defaults.go`): a token's answer 2 minutes, an allowed access 5 minutes, a refused one
30 seconds. Failures of the API server are never remembered; concurrent equal questions are asked once.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakValueDictionary

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from provider.clock import Clock
    from provider.kube.client import KubeApi

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
AUTHENTICATION_CONFIG = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"

TOKEN_SECONDS = 120.0
ALLOWED_SECONDS = 300.0
REFUSED_SECONDS = 30.0
ENTRIES = 4096

_V = TypeVar("_V")


class User(Struct, frozen=True, kw_only=True):
    """A caller, as the API server knows them."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Decision(Struct, frozen=True):
    """Whether an access is allowed, and the authorizer's reason."""

    allowed: bool
    reason: str = ""


class AuthReviews:
    """Asks the API server; `api` may be the node's own client (`system:nodes` may create both reviews)."""

    def __init__(self, api: KubeApi, *, clock: Clock, entries: int = ENTRIES) -> None:
        """Remember at most `entries` tokens, and as many accesses."""
        self._api = api
        self._salt = secrets.token_bytes(32)
        self._tokens: _Remembered[User | None] = _Remembered(clock, entries)
        self._accesses: _Remembered[Decision] = _Remembered(clock, entries)

    async def authenticate(self, token: str) -> User | None:
        """Return whose bearer token this is, None if nobody's; raises KubeError when that cannot be found out."""
        # No token is kept: a keyed hash cannot be turned back, nor computed ahead by who does not know the salt.
        key = hashlib.blake2b(token.encode("utf-8", "surrogateescape"), key=self._salt).digest()
        return await self._tokens.get(key, lambda: self._review_token(token), lambda _: TOKEN_SECONDS)

    async def authorize(self, user: User, verb: str, resource: str, subresource: str, name: str) -> Decision:
        """Say whether `user` may do that, e.g. `get` on `nodes`, `proxy`, the node's name; raises KubeError."""
        attributes = {"verb": verb, "version": "v1", "resource": resource, "subresource": subresource, "name": name}
        return await self._accesses.get(
            (user, *attributes.values()),
            lambda: self._review_access(user, attributes),
            lambda decision: ALLOWED_SECONDS if decision.allowed else REFUSED_SECONDS,
        )

    async def _review_token(self, token: str) -> User | None:
        status = await self._review(TOKEN_REVIEWS, "authentication.k8s.io/v1", "TokenReview", {"token": token})
        if not status.get("authenticated"):
            return None
        user = status.get("user") or {}
        return User(
            name=user.get("username", ""),
            uid=user.get("uid", ""),
            groups=tuple(user.get("groups") or ()),
            extra=tuple((key, tuple(values)) for key, values in (user.get("extra") or {}).items()),
        )

    async def _review_access(self, user: User, attributes: dict[str, str]) -> Decision:
        spec: dict[str, Any] = {"user": user.name, "groups": list(user.groups), "resourceAttributes": attributes}
        if user.uid:
            spec["uid"] = user.uid
        if user.extra:
            spec["extra"] = {key: list(values) for key, values in user.extra}
        status = await self._review(ACCESS_REVIEWS, "authorization.k8s.io/v1", "SubjectAccessReview", spec)
        # An authorizer that says both means no (upstream's webhook treats it so).
        allowed = bool(status.get("allowed")) and not status.get("denied")
        return Decision(allowed, status.get("reason", ""))

    async def _review(self, path: str, version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        answer = await self._api.create(path, {"apiVersion": version, "kind": kind, "metadata": {}, "spec": spec})
        status: dict[str, Any] = answer.get("status") or {}
        return status


class _Remembered(Generic[_V]):
    """Answers by key, each for a time of its own; when it is full the one unused for longest goes."""

    def __init__(self, clock: Clock, entries: int) -> None:
        self._clock = clock
        self._entries = entries
        self._answers: OrderedDict[Hashable, tuple[float, _V]] = OrderedDict()
        self._asking: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[_V]], seconds: Callable[[_V], float]) -> _V:
        """Return the remembered answer, else ask; who comes while it is asked waits for the same answer."""
        lock = self._asking.get(key)
        if lock is None:
            lock = self._asking[key] = asyncio.Lock()
        async with lock:
            held = self._answers.get(key)
            if held is not None and held[0] > self._clock.now():
                self._answers.move_to_end(key)
                return held[1]
            answer = await ask()
            self._answers[key] = (self._clock.now() + seconds(answer), answer)
            self._answers.move_to_end(key)
            while len(self._answers) > self._entries:
                self._answers.popitem(last=False)
            return answer


async def cluster_client_ca(api: KubeApi) -> str:
    """Return the PEM of the CAs whose client certificates the API server takes; empty where it takes none.

    Published by every API server for its extensions; the kubelet port trusts the same ones. Raises KubeError.
    """
    published = await api.get(AUTHENTICATION_CONFIG)
    ca: str = (published.get("data") or {}).get("client-ca-file", "")
    return ca
