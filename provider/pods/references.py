"""What a pod refers to, fetched with the node's credential: one GET per object, one TokenRequest per token.

The Node authorizer lets a node read only the objects that its pods name, one by one. An object that does not exist is
left out of the `References` (translate says what that means for the pod); anything else that goes wrong is a KubeError.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from provider.kube.client import KubeApi, KubeError
from provider.model.timestamps import seconds_of
from provider.translate.references import References
from provider.translate.volumes import mounted_volumes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.model.pod import Container, Pod
    from provider.model.pod_volumes import VolumeEntry

Json = dict[str, Any]

NOT_FOUND = 404
LONGEST_TOKEN_SECONDS = 24 * 3600
"""A token is replaced after a day at the latest (pkg/kubelet/token/token_manager.go maxTTL)."""
REFRESH_JITTER_SECONDS = 10.0


class Names(Struct, frozen=True):
    """What a pod names, each once, in the order of its spec; tokens are (audience, seconds)."""

    config_maps: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    tokens: tuple[tuple[str, int], ...] = ()


class Fetched(Struct, frozen=True):
    """References, when the first of their tokens is to be replaced (seconds since the epoch), and what they were.

    `versions` has the resourceVersion of each (`configmap` or `secret`, name), "" for one that is not there.
    """

    references: References
    refresh_at: float | None = None
    versions: dict[tuple[str, str], str] = {}


def names_of(pod: Pod) -> Names:
    """Return everything that a pod's containers, volumes and pulls refer to."""
    spec = pod.spec
    parts = [part for one in (*(spec.init_containers or ()), *spec.containers) for part in _of_container(one)]
    parts += [part for _, volume in mounted_volumes(spec) for part in _of_volume(volume)]
    parts += [("secret", one.name) for one in spec.image_pull_secrets or ()]
    return _names(parts)


def names_of_volumes(volumes: list[VolumeEntry]) -> Names:
    """Return what these volumes refer to."""
    return _names([part for volume in volumes for part in _of_volume(volume)])


def volumes_with_tokens(pod: Pod) -> list[VolumeEntry]:
    """Return the pod's volumes that hold a token."""
    return [one for _, one in mounted_volumes(pod.spec) if names_of_volumes([one]).tokens]


def refresh_at(expires_at: float, seconds: int, jitter: float) -> float:
    """Return when a token is to be replaced: after 80 % of its life, at the latest after a day; `jitter` sooner."""
    issued_at = expires_at - seconds
    return min(expires_at - seconds * 20 // 100, issued_at + LONGEST_TOKEN_SECONDS) - jitter


def nothing_held(_kind: str, _name: str) -> Json | None:
    """Say that every object has to be fetched."""
    return None


async def fetch(
    pod: Pod,
    names: Names,
    api: KubeApi,
    facts: References,
    random: Random,
    held: Callable[[str, str], Json | None] = nothing_held,
) -> Fetched:
    """Fetch all names at the same time and add them to the node's `facts`; `held` has those that need no asking.

    Raises KubeError for an answer that is neither the object nor its absence.
    """
    namespace = f"/api/v1/namespaces/{pod.metadata.namespace}"
    failures: list[KubeError] = []

    async def ask(what: str, request: Awaitable[Json]) -> Json | KubeError:
        try:
            return await request
        except KubeError as error:
            # The API server that is asked for a token may not have heard yet of a pod that was bound a moment ago.
            if error.code != NOT_FOUND or error.message.startswith(('pod "', 'pods "')):
                failures.append(KubeError(error.code, error.reason, f"{what}: {error.message}", error.retry_after))
            return error

    async def read(kind: str, name: str) -> Json | KubeError:
        known = held(kind, name)
        return await ask(f"{kind} {name}", api.get(f"{namespace}/{kind}s/{name}")) if known is None else known

    def issue(audience: str, seconds: int) -> Coroutine[Any, Any, Json | KubeError]:
        account = pod.spec.service_account_name or "default"
        request = _token_request(pod, audience, seconds)
        return ask(
            f"token of serviceaccount {account}", api.create(f"{namespace}/serviceaccounts/{account}/token", request)
        )

    async with asyncio.TaskGroup() as group:
        maps = {one: group.create_task(read("configmap", one)) for one in names.config_maps}
        secrets = {one: group.create_task(read("secret", one)) for one in names.secrets}
        tokens = {one: group.create_task(issue(*one)) for one in names.tokens}
    if failures:
        raise failures[0]
    found = {name: item for name, task in maps.items() if not isinstance(item := task.result(), KubeError)}
    opened = {name: item for name, task in secrets.items() if not isinstance(item := task.result(), KubeError)}
    issued = {key: item for key, task in tokens.items() if not isinstance(item := task.result(), KubeError)}
    references = replace(
        facts,
        config_maps={name: _content(item) for name, item in found.items()},
        binary_keys={name: frozenset(item.get("binaryData") or ()) for name, item in found.items()},
        secrets={name: _decoded(item.get("data")) for name, item in opened.items()},
        tokens={key: item["status"]["token"] for key, item in issued.items()},
        token_errors={
            key: item.message for key, task in tokens.items() if isinstance(item := task.result(), KubeError)
        },
    )
    versions = {("configmap", name): _version(found.get(name)) for name in names.config_maps}
    versions |= {("secret", name): _version(opened.get(name)) for name in names.secrets}
    due = [_refresh_at(item, random.uniform(0, REFRESH_JITTER_SECONDS)) for item in issued.values()]
    return Fetched(references, min(due, default=None), versions)


def _version(item: Json | None) -> str:
    return "" if item is None else str(item["metadata"].get("resourceVersion") or "")


def _refresh_at(item: Json, jitter: float) -> float:
    return refresh_at(seconds_of(item["status"]["expirationTimestamp"]), item["spec"]["expirationSeconds"], jitter)


def _token_request(pod: Pod, audience: str, seconds: int) -> Json:
    meta = pod.metadata
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [audience] if audience else [],
            "expirationSeconds": seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
        },
    }


def _content(item: Json) -> dict[str, bytes]:
    texts = {key: value.encode() for key, value in (item.get("data") or {}).items()}
    return texts | _decoded(item.get("binaryData"))


def _decoded(data: Json | None) -> dict[str, bytes]:
    return {key: b64decode(value) for key, value in (data or {}).items()}


_Part = tuple[str, str] | tuple[str, tuple[str, int]]


def _names(parts: list[_Part]) -> Names:
    def only(kind: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(value for own, value in parts if own == kind and value))

    return Names(only("configmap"), only("secret"), only("token"))


def _of_container(one: Container) -> Iterator[_Part]:
    for source in one.env_from or ():
        if source.config_map_ref is not None:
            yield "configmap", source.config_map_ref.name
        if source.secret_ref is not None:
            yield "secret", source.secret_ref.name
    for entry in one.env or ():
        origin = entry.value_from
        if origin is not None and origin.config_map_key_ref is not None:
            yield "configmap", origin.config_map_key_ref.name
        if origin is not None and origin.secret_key_ref is not None:
            yield "secret", origin.secret_key_ref.name


def _of_volume(volume: VolumeEntry) -> Iterator[_Part]:
    if volume.config_map is not None:
        yield "configmap", volume.config_map.name
    if volume.secret is not None:
        yield "secret", volume.secret.secret_name
    for source in (volume.projected.sources if volume.projected is not None else None) or ():
        if source.config_map is not None:
            yield "configmap", source.config_map.name
        if source.secret is not None:
            yield "secret", source.secret.name
        if source.service_account_token is not None:
            token = source.service_account_token
            yield "token", (token.audience, token.expiration_seconds)
