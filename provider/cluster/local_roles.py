"""Gives the provider and the approver their roles in the local cluster, bound to the users of their certificates.

The provider's rules are those of deploy/kustomize/base. Elsewhere they are bound to a service account; here the
provider is a process of the host and has a client certificate (user `zonelet-provider`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cluster.build import local_sources
from provider.cluster.local import APPROVER_USER, PROVIDER_USER
from provider.cluster.manifests import Manifests, documents

if TYPE_CHECKING:
    from provider.kube.client import Json, KubeApi

__all__ = ["approver_role", "grant_roles", "provider_role"]


def provider_role(user: str = PROVIDER_USER) -> list[Json]:
    """Return roles and bindings, with the user in the service account's place."""
    bindings = _documents("base/bindings.yaml")
    return [*_documents("base/roles.yaml"), *({**binding, "subjects": [_user(user)]} for binding in bindings)]


def approver_role(user: str = APPROVER_USER) -> list[Json]:
    """Return the role of the serving certificates' approver, and its binding."""
    (role,) = _documents("approver/role.yaml")
    name = role["metadata"]["name"]
    binding = {
        "apiVersion": role["apiVersion"],
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": name},
        "subjects": [_user(user)],
    }
    return [role, binding]


async def grant_roles(api: KubeApi) -> None:
    """Apply them; may be repeated. `api` may hand out every right in them (an administrator's). Raises KubeError."""
    await Manifests(api).apply([*provider_role(), *approver_role()])


def _documents(path: str) -> list[Json]:
    return documents((local_sources().parent / "kustomize" / path).read_text(encoding="utf-8"))


def _user(name: str) -> Json:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
