"""Gives the provider its credential in a cluster that it joins: a service account, the role of deploy/kustomize/base.

Names carry the installation's name, so that two installations in one cluster do not share them; the namespace they
share, and the last one removes it. (In the local cluster the provider has a client certificate: local_roles.py.)
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from provider.cluster.build import local_sources
from provider.cluster.local import PROVIDER_USER
from provider.cluster.manifests import Manifests, documents, wait_for
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from provider.clock import Clock
    from provider.kube.client import Json, KubeApi

__all__ = ["access_objects", "grant_access", "permissions", "revoke_access"]

NAMESPACE = "zonelet-system"
_FILES = ("namespace.yaml", "serviceaccount.yaml", "roles.yaml", "bindings.yaml")
_TOKEN_SECONDS = 30.0


def access_objects(installation: str) -> list[Json]:
    """Return namespace, service account, roles, bindings and the Secret of the account's token."""
    name = account_name(installation)
    base = local_sources().parent / "kustomize" / "base"
    objects = [each for file in _FILES for each in documents((base / file).read_text(encoding="utf-8"))]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"{name}-token",
            "namespace": NAMESPACE,
            "annotations": {"kubernetes.io/service-account.name": name},
        },
        "type": "kubernetes.io/service-account-token",
    }
    return [*(_renamed(each, name) for each in objects), secret]


def account_name(installation: str) -> str:
    """Return the name of role and service account: `zonelet-provider`, or `zonelet-provider-<installation>`."""
    return PROVIDER_USER if installation == "zonelet" else f"{PROVIDER_USER}-{installation}"


async def grant_access(api: KubeApi, installation: str, clock: Clock) -> str:
    """Apply the objects; return the account's token, which does not expire. KubeError, SetupError."""
    objects = access_objects(installation)
    manifests = Manifests(api)
    await manifests.apply_own(objects)
    secret = await manifests.path(objects[-1])
    try:
        made = await wait_for(api, secret, _has_token, clock=clock, seconds=_TOKEN_SECONDS)
    except TimeoutError:
        raise SetupError(
            f"the provider's token was not made in {_TOKEN_SECONDS:.0f} s",
            f"the cluster's controller manager fills the Secret at {secret}, and it did not",
            "see whether the cluster's kube-controller-manager runs, then run this again",
        ) from None
    return base64.b64decode(made["data"]["token"]).decode()


async def revoke_access(api: KubeApi, installation: str) -> None:
    """Remove what `grant_access` has made; the namespace only when no other installation has an account in it."""
    objects = access_objects(installation)
    manifests = Manifests(api)
    await manifests.remove_own([each for each in objects if each["kind"] != "Namespace"])
    left = await api.list(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts")
    if not any(each["metadata"]["name"].startswith(PROVIDER_USER) for each in left["items"]):
        await manifests.remove_own([each for each in objects if each["kind"] == "Namespace"])


def permissions(installation: str) -> list[Json]:
    """Return resourceAttributes of a review for every right in the roles: who lacks one cannot hand it out (RBAC)."""
    wanted: list[Json] = []
    for each in access_objects(installation):
        meta = each["metadata"]
        wanted.append(_attributes(each, "patch", meta.get("namespace", ""), meta["name"]))
        for rule in each.get("rules") or ():
            wanted += [
                {"group": group, "resource": resource.partition("/")[0], "verb": verb}
                | ({"subresource": resource.partition("/")[2]} if "/" in resource else {})
                | ({"namespace": meta["namespace"]} if "namespace" in meta else {})
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
            ]
    return wanted


def _attributes(each: Json, verb: str, namespace: str, name: str) -> Json:
    group = each["apiVersion"].rpartition("/")[0]
    found = {"group": group, "resource": f"{each['kind'].lower()}s", "verb": verb, "name": name}
    return found | ({"namespace": namespace} if namespace else {})


def _has_token(secret: Json) -> bool:
    return bool((secret.get("data") or {}).get("token"))


def _renamed(value: Any, name: str) -> Any:
    """Return the object with every name `zonelet-provider` made this installation's."""
    if isinstance(value, dict):
        return {
            key: name if key == "name" and each == PROVIDER_USER else _renamed(each, name)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_renamed(each, name) for each in value]
    return value
