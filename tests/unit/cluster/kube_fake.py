"""An API server in memory, as little of it as the set-up asks for: objects by path, watches that deliver what comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from provider.kube.client import KubeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

Json = dict[str, Any]

DISCOVERY: dict[str, Json] = {
    "/api/v1": {
        "resources": [
            {"kind": "Namespace", "name": "namespaces", "namespaced": False},
            {"kind": "ConfigMap", "name": "configmaps", "namespaced": True},
            {"kind": "Secret", "name": "secrets", "namespaced": True},
            {"kind": "ServiceAccount", "name": "serviceaccounts", "namespaced": True},
            {"kind": "Pod", "name": "pods/status", "namespaced": True},
            {"kind": "Pod", "name": "pods", "namespaced": True},
        ]
    },
    "/apis/apps/v1": {"resources": [{"kind": "Deployment", "name": "deployments", "namespaced": True}]},
    "/apis/rbac.authorization.k8s.io/v1": {
        "resources": [
            {"kind": "ClusterRole", "name": "clusterroles", "namespaced": False},
            {"kind": "ClusterRoleBinding", "name": "clusterrolebindings", "namespaced": False},
            {"kind": "Role", "name": "roles", "namespaced": True},
            {"kind": "RoleBinding", "name": "rolebindings", "namespaced": True},
        ]
    },
    "/apis/admissionregistration.k8s.io/v1": {
        "resources": [
            {"kind": "MutatingAdmissionPolicy", "name": "mutatingadmissionpolicies", "namespaced": False},
            {"kind": "MutatingAdmissionPolicyBinding", "name": "mutatingadmissionpolicybindings", "namespaced": False},
        ]
    },
}


class FakeKubeApi:
    """KubeApi over a dictionary; `seen` holds (verb, path) of every call."""

    def __init__(self, objects: Mapping[str, Json] | None = None) -> None:
        self.objects: dict[str, Json] = dict(objects or {})
        self.seen: list[tuple[str, str]] = []
        self.answers: dict[str, Json] = {}
        self.events: asyncio.Queue[Json] = asyncio.Queue()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        self.seen.append(("get", path))
        found = DISCOVERY.get(path) or self.objects.get(path)
        if found is None:
            raise KubeError(404, "NotFound", path)
        return found

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        self.seen.append(("list", path))
        name = (query or {}).get("fieldSelector", "").removeprefix("metadata.name=")
        items = [
            each
            for at, each in self.objects.items()
            if at == f"{path}/{name}" or (not name and at.rpartition("/")[0] == path)
        ]
        return {"metadata": {"resourceVersion": "1"}, "items": items}

    async def create(self, path: str, body: Json) -> Json:
        self.seen.append(("create", path))
        return self.answers[path]

    async def patch(self, path: str, body: Json, kind: str, query: Mapping[str, str] | None = None) -> Json:
        self.seen.append((kind, path))
        self.objects[path] = body
        return body

    async def delete(self, path: str, *, uid: str | None = None, **conditions: Any) -> Json:
        self.seen.append(("delete", path))
        if path in self.objects and uid not in (None, self.objects[path]["metadata"].get("uid")):
            raise KubeError(409, "Conflict", "Precondition failed: UID in precondition")
        if self.objects.pop(path, None) is None:
            raise KubeError(404, "NotFound", path)
        return {}

    async def watch(self, path: str, query: Mapping[str, str], idle_seconds: float) -> AsyncIterator[Json]:
        self.seen.append(("watch", path))
        while True:
            event = await self.events.get()
            if event["type"] == "END":
                return
            yield event
