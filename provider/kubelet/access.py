"""Who may use the kubelet port: client certificate or bearer token, then a SubjectAccessReview on the node.

Rules: Kubernetes 1.37 pkg/kubelet/server/auth.go (paths to subresources, fine-grained ones included) and server.go
InstallAuthFilter (order, texts). Anonymous callers are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from provider.kube.client import KubeError

if TYPE_CHECKING:
    from provider.kube.auth_review import AuthReviews, User

log = structlog.get_logger(__name__)

AUTHENTICATED: Final = "system:authenticated"

_VERBS: Final = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_FINE: Final = (
    ("/allocatedPods", "pods"),
    ("/pods", "pods"),
    ("/healthz", "healthz"),
    ("/configz", "configz"),
    ("/runningpods", "pods"),
)
_COARSE: Final = (
    ("/stats", "stats"),
    ("/metrics", "metrics"),
    ("/logs", "log"),
    ("/checkpoint", "checkpoint"),
    ("/statusz", "statusz"),
    ("/flagz", "configz"),
)


class AccessDenied(Exception):  # noqa: N818 - a refusal, not a failure
    """The answer to a caller who may not: HTTP status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def subresources(path: str) -> tuple[str, ...]:
    """Return the subresources of the node that allow `path`, any of them, best first."""
    fine = next((name for prefix, name in _FINE if _below(path, prefix)), None)
    coarse = next((name for prefix, name in _COARSE if _below(path, prefix)), "proxy")
    return (coarse,) if fine is None else (fine, coarse)


def verb(method: str) -> str:
    """Return the API verb of an HTTP method; empty for one that has none."""
    return _VERBS.get(method, "")


def bearer_token(authorization: str) -> str:
    """Return the token of an Authorization header; empty when it holds none."""
    scheme, _, rest = authorization.strip().partition(" ")
    return rest.split(" ")[0] if scheme.lower() == "bearer" else ""


class Access:
    """The door of one node's port."""

    def __init__(self, reviews: AuthReviews, node_name: str) -> None:
        self._reviews = reviews
        self._node = node_name

    async def admit(self, certified: User | None, authorization: str, method: str, path: str) -> User:
        """Return the caller, who may use `path`; `certified` is whom a verified client certificate names.

        Raises AccessDenied: 401 nobody, 403 not allowed, 500 when the API server could not be asked.
        """
        user = certified or await self._token_user(bearer_token(authorization))
        if user is None:
            raise AccessDenied(401, "Unauthorized")
        asked, candidates = verb(method), subresources(path)
        for subresource in candidates:
            if await self._allowed(user, asked, subresource):
                return user
        names = " ".join(candidates)
        text = f"Forbidden (user={user.name}, verb={asked}, resource=nodes, subresource(s)=[{names}])\n"
        raise AccessDenied(403, text)

    async def _token_user(self, token: str) -> User | None:
        if not token:
            return None
        try:
            return await self._reviews.authenticate(token)
        except KubeError as error:
            log.warning("kubelet.authentication", node=self._node, error=str(error))
            return None

    async def _allowed(self, user: User, asked: str, subresource: str) -> bool:
        try:
            return (await self._reviews.authorize(user, asked, "nodes", subresource, self._node)).allowed
        except KubeError as error:
            log.warning("kubelet.authorization", node=self._node, user=user.name, verb=asked, error=str(error))
            text = f"Authorization error (user={user.name}, verb={asked}, resource=nodes, subresource={subresource})"
            raise AccessDenied(500, text) from error


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")
