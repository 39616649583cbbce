"""Gives the provider its role in the local cluster: the rules of deploy/kustomize/base, bound to a user.

Elsewhere the same rules are bound to a service account; here the provider is a process of the host and has a client
certificate (user `zonelet-provider`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cluster.build import local_sources
from provider.cluster.local import PROVIDER_USER
from provider.cluster.manifests import Manifests, documents

if TYPE_CHECKING:
    from provider.kube.client import Json, KubeApi

__all__ = ["grant_provider_role", "provider_role"]


def provider_role(user: str = PROVIDER_USER) -> list[Json]:
    """Return roles and bindings, with the user in the service account's place."""
    base = local_sources().parent / "kustomize" / "base"
    roles = documents((base / "roles.yaml").read_text(encoding="utf-8"))
    bindings = documents((base / "bindings.yaml").read_text(encoding="utf-8"))
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    return [*roles, *({**binding, "subjects": [subject]} for binding in bindings)]


async def grant_provider_role(api: KubeApi) -> None:
    """Apply them; may be repeated. `api` may hand out every right in them (an administrator's). Raises KubeError."""
    await Manifests(api).apply(provider_role())
