"""Images: what is there, what has to be pulled, with which login, and what is said when it cannot be.

Rules and texts: the kubelet's image manager (k8s.io/kubernetes/pkg/kubelet/images/image_manager.go) and keyring. One
difference, by configuration only (imagePull: preferLocal): when a registry cannot be reached, a local image will do for
policy Always, and the answer says so. A registry that could not be reached is asked again after a while.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec
from aiodocker.exceptions import DockerError

from provider.cloud.runtime.base import FaultKind, Image, RuntimeFault
from provider.cloud.runtime.docker_engine.client import json_lines, stream
from provider.cloud.runtime.docker_engine.credentials import auth_header, lookup
from provider.cloud.runtime.docker_engine.engine import NOT_FOUND, faults
from provider.cloud.runtime.docker_engine.flights import Flights
from provider.cloud.runtime.image_reference import Reference, named_image, parse
from provider.model.request import PullPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiodocker import Docker

    from provider.clock import Clock
    from provider.cloud.runtime.docker_engine.pull_records import PullRecords
    from provider.model.request import RegistryCredential

ASK_AGAIN_SECONDS = 60.0
"""How long a registry that could not be reached is not asked again while a local image will do."""
ANSWER_SECONDS = 5.0
"""How long it may take to its first word while a local image would do."""

# Go's net and net/http say these when there is no way to a host; a registry that answers never does.
_NO_WAY = re.compile(
    r"no such host|server misbehaving|connection refused|connection reset|no route to host|network is unreachable"
    r"|i/o timeout|TLS handshake timeout|Client\.Timeout|context deadline exceeded|did not answer|request canceled"
    r"|proxyconnect",
)


class Images:
    """Images of one engine."""

    def __init__(self, client: Docker, clock: Clock, records: PullRecords, *, prefer_local: bool = False) -> None:
        self._client = client
        self._records = records
        self._clock = clock
        self._prefer_local = prefer_local
        self._pulls: Flights[Image] = Flights()
        self._users: dict[str, str] = {}
        self._unreachable: dict[str, tuple[float, str]] = {}
        """registry -> until when it is taken for unreachable, and what was said."""

    async def ensure(
        self,
        image: str,
        policy: PullPolicy,
        credentials: Sequence[RegistryCredential],
        pulling: Callable[[], None] | None = None,
    ) -> Image:
        """Return the image as the policy asks; `pulling` is called before the registry is asked.

        RuntimeFault INVALID_IMAGE_NAME, IMAGE_NEVER_PULL, IMAGE_INSPECT, IMAGE_PULL (with the engine's own text).
        """
        reference = named_image(image)
        logins = lookup(credentials, reference.repository)
        if policy is not PullPolicy.ALWAYS:
            found = await self._local(reference)
            if found is not None and self._records.may_use(found.id, reference.repository, logins):
                return found
            if policy is PullPolicy.NEVER:
                # One that is there for others only is told of in the same words: its presence is theirs to know.
                text = f'Container image "{image}" is not present with pull policy of Never'
                raise RuntimeFault(FaultKind.IMAGE_NEVER_PULL, text)
        if pulling is not None:
            pulling()
        key = (str(reference), tuple(logins))
        if policy is PullPolicy.ALWAYS and self._prefer_local:
            return await self._pulls.shared((*key, "or local"), lambda: self._pulled_or_local(reference, logins))
        return await self._pulls.shared(key, lambda: self._pulled(reference, logins))

    async def user(self, image_id: str) -> str:
        """Return USER of an image, which may be empty."""
        if image_id not in self._users:
            await self._inspected(image_id)
        return self._users.get(image_id, "")

    async def _pulled_or_local(self, reference: Reference, logins: Sequence[RegistryCredential]) -> Image:
        local = await self._local(reference)
        if local is None or not self._records.may_use(local.id, reference.repository, logins):
            return await self._pulled(reference, logins)
        until, said = self._unreachable.get(reference.domain, (0.0, ""))
        if self._clock.now() >= until:
            try:
                image = await self._pulled(reference, logins, ANSWER_SECONDS)
            except RuntimeFault as fault:
                if fault.kind is not FaultKind.IMAGE_PULL or not _NO_WAY.search(fault.message):
                    raise
                said = fault.message
                self._unreachable[reference.domain] = (self._clock.now() + ASK_AGAIN_SECONDS, said)
            else:
                self._unreachable.pop(reference.domain, None)
                return image
        note = (
            f"Registry {reference.domain} cannot be reached, so the local image {reference} is used although the pull "
            f"policy is Always (imagePull: preferLocal): {said}"
        )
        return msgspec.structs.replace(local, note=note)

    async def _pulled(
        self,
        reference: Reference,
        logins: Sequence[RegistryCredential],
        answer_seconds: float | None = None,
    ) -> Image:
        """Pull with each login in turn, without one if there is none."""
        began = self._clock.now()
        refusals: list[str] = []
        tried: Sequence[RegistryCredential | None] = logins or [None]
        for login in tried:
            try:
                await self._pull(reference, login, answer_seconds)
                break
            except RuntimeFault as fault:
                if fault.kind is not FaultKind.IMAGE_PULL:
                    raise
                refusals.append(fault.message)
        else:
            distinct = list(dict.fromkeys(refusals))
            text = distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"
            raise RuntimeFault(FaultKind.IMAGE_PULL, text)
        image = await self._local(reference)
        if image is None:
            raise RuntimeFault(FaultKind.IMAGE_PULL, f"the engine pulled {reference} but does not have it")
        await asyncio.to_thread(self._records.pulled, image.id, reference.repository, login)
        return msgspec.structs.replace(image, pulled=True, seconds=self._clock.now() - began)

    async def _pull(self, reference: Reference, login: RegistryCredential | None, answer_seconds: float | None) -> None:
        parameters = {"fromImage": reference.familiar, "tag": reference.digest or reference.tag}
        headers = {} if login is None else {"X-Registry-Auth": auth_header(login, reference.domain)}
        with faults(FaultKind.IMAGE_PULL):
            try:
                async with (
                    asyncio.timeout(answer_seconds) as limit,
                    stream(self._client, "POST", "images/create", parameters, headers) as response,
                ):
                    async for line in json_lines(response):
                        limit.reschedule(None)
                        if "error" in line:
                            raise RuntimeFault(FaultKind.IMAGE_PULL, str(line["error"]))
            except DockerError as error:  # whatever the number: it is the registry that is told of
                raise RuntimeFault(FaultKind.IMAGE_PULL, str(error.message)) from error
            except TimeoutError as error:
                if answer_seconds is None:
                    raise
                text = f"registry {reference.domain} did not answer within {answer_seconds:g} s"
                raise RuntimeFault(FaultKind.IMAGE_PULL, text) from error

    async def _local(self, reference: Reference) -> Image | None:
        found = await self._inspected(str(reference))
        if found is None:
            return None
        image_id = str(found["Id"])
        return Image(
            id=image_id,
            digest=_digest(found.get("RepoDigests") or [], reference) or image_id,
            user=self._users[image_id],
            size=int(found.get("Size") or 0),
        )

    async def _inspected(self, name: str) -> dict[str, Any] | None:
        """Return the engine's answer about an image, None if it is not there."""
        with faults(FaultKind.IMAGE_INSPECT):
            try:
                found = await self._client.images.inspect(name)
            except DockerError as error:
                if error.status != NOT_FOUND:
                    raise
                return None
        self._users[str(found["Id"])] = str((found.get("Config") or {}).get("User") or "")
        return found


def _digest(listed: Sequence[str], reference: Reference) -> str:
    """Return the digest under which the image was pulled, with its full repository name; empty if it never was."""
    parsed = [parse(text) for text in listed if "@" in text and not text.startswith("<none>")]
    parsed.sort(key=lambda one: one.repository != reference.repository)
    return f"{parsed[0].repository}@{parsed[0].digest}" if parsed else ""
