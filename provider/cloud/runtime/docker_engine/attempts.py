"""Attempts of containers: started once, stopped with a grace that may only shrink, removed."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.container_config import container_config
from provider.cloud.runtime.docker_engine.labels import ContainerLabels
from provider.cloud.runtime.docker_engine.naming import container_name, sandbox_name
from provider.cloud.runtime.docker_engine.states import engine_time

if TYPE_CHECKING:
    from provider.cloud.runtime.base import RunSpec, SeenContainer
    from provider.cloud.runtime.docker_engine.attempt_mounts import AttemptMounts
    from provider.cloud.runtime.docker_engine.cgroups import Cgroups
    from provider.cloud.runtime.docker_engine.engine import Engine, Made
    from provider.cloud.runtime.docker_engine.half_started import HalfStarted
    from provider.cloud.runtime.docker_engine.images import Images
    from provider.cloud.runtime.docker_engine.instance_store import InstanceStore
    from provider.cloud.runtime.docker_engine.sightings import Sightings
    from provider.model.ids import PodUid


_NEVER_STARTS = re.compile(
    r"^(No command specified|Cannot mkdir: .* is not a directory|the working directory .* is invalid"
    r"|Minimum memory limit allowed is )"
)
"""Refusals of a creation that say of the container's own wish what containerd and runc say when they start it."""


class Attempts:
    """The containers of one installation. Starting one costs three calls: create, start, inspect."""

    def __init__(
        self,
        engine: Engine,
        installation: str,
        store: InstanceStore,
        mounts: AttemptMounts,
        images: Images,
        cgroups: Cgroups,
        sightings: Sightings,
        half_started: HalfStarted,
        *,
        most_cpu: int,
        apparmor: bool,
    ) -> None:
        self._engine = engine
        self._installation = installation
        self._store = store
        self._mounts = mounts
        self._images = images
        self._cgroups = cgroups
        self._sightings = sightings
        self._half_started = half_started
        self._most_cpu = most_cpu
        self._apparmor = apparmor
        self._stops: dict[str, asyncio.Future[None]] = {}

    async def start(self, spec: RunSpec) -> SeenContainer:
        """Create and start; one that was started before, or could not be, is returned as it is.

        RuntimeFault CONFIG, MOUNT, CREATE, START, UNAVAILABLE.
        """
        name = container_name(self._installation, spec.uid, spec.container.name, spec.attempt)
        if spec.container.security.apparmor == "default" and not self._apparmor:
            raise RuntimeFault(FaultKind.CONFIG, "Cannot enforce AppArmor: AppArmor is not enabled on the host")
        instance = await asyncio.to_thread(self._store.spec, spec.uid)
        image_user = ""
        if spec.container.security.group is not None and spec.container.security.user is None:
            image_user = await self._images.user(spec.image_id or spec.container.image)
        most_cpu = min(self._most_cpu, (instance.cpu if instance else 0) or self._most_cpu)
        prepared = await asyncio.to_thread(self._mounts.prepare, spec)
        try:
            config = container_config(
                self._installation,
                spec,
                sandbox_name(self._installation, spec.uid),
                prepared.binds,
                self._cgroups.parent(spec.uid),
                image_user,
                most_cpu=most_cpu,
                fs_group=None if instance is None else instance.fs_group,
                share_processes=instance is not None and instance.share_processes,
            )
            made = await self._make(name, config)
            if made.inspected is not None:
                if _was_started(made.inspected):
                    return await self._sightings.take(made.inspected, _labels(spec))
                with self._half_started.settling(made.id):
                    if not await self._half_started.before_start(spec.uid, made.id):
                        await self._start(made.id, spec)
            else:
                await self._start(made.id, spec)
        finally:
            if prepared.mounted:
                await asyncio.to_thread(self._mounts.finish, prepared)
        inspected = await self._engine.inspect(made.id)
        if inspected is None:
            raise RuntimeFault(FaultKind.CREATE, f"container {spec.container.name} was removed while it started")
        return await self._sightings.take(inspected, _labels(spec))

    async def _make(self, name: str, config: dict[str, Any]) -> Made:
        """Create the container; what Docker sees now and other runtimes at the start only is a START fault (128)."""
        try:
            return await self._engine.make(name, config)
        except RuntimeFault as fault:
            if fault.kind is FaultKind.CREATE and _NEVER_STARTS.search(fault.message):
                raise RuntimeFault(FaultKind.START, fault.message) from fault
            raise

    async def _start(self, container_id: str, spec: RunSpec) -> None:
        try:
            await self._engine.start(container_id)
        except RuntimeFault as fault:
            if fault.kind is FaultKind.START and spec.container.security.privileged:
                text = (
                    f"container {spec.container.name} asks to be privileged, and the engine's host does not let it: "
                    f"{fault.message}. Take privileged away, or add single capabilities instead"
                )
                raise RuntimeFault(FaultKind.START, text) from fault
            raise

    async def stop(self, uid: PodUid, container: str, attempt: int, grace: float) -> None:
        """Stop signal, SIGKILL after `grace` seconds; asked again with less grace, the end comes that much sooner.

        The stop signal is sent once. RuntimeFault REFUSED, UNAVAILABLE.
        """
        name = container_name(self._installation, uid, container, attempt)
        while (under_way := self._stops.get(name)) is not None:
            await asyncio.wait([under_way], timeout=grace)
            if not under_way.done():
                await self._engine.kill(name)
                return
            if not under_way.cancelled():
                under_way.result()  # or what it raised
                return
        ended = self._stops[name] = asyncio.get_running_loop().create_future()
        try:
            await (self._engine.stop(name, grace) if grace > 0 else self._engine.kill(name))
            ended.set_result(None)
        except RuntimeFault as fault:
            ended.set_exception(fault)
            ended.exception()  # it is raised here, too
            raise
        finally:
            del self._stops[name]
            ended.cancel()  # no effect on one that is done

    async def remove(self, uid: PodUid, container: str, attempt: int) -> None:
        """Remove an attempt with its log and last words. RuntimeFault REFUSED, UNAVAILABLE."""
        await self._engine.remove(container_name(self._installation, uid, container, attempt))
        await asyncio.to_thread(self._mounts.remove, uid, container, attempt)


def _was_started(inspected: dict[str, Any]) -> bool:
    """Whether an attempt has ever been started, or could not be: it must not be started a second time."""
    state = inspected["State"]
    return state["Status"] != "created" or bool(state.get("Error")) or engine_time(state["StartedAt"]) is not None


def _labels(spec: RunSpec) -> ContainerLabels:
    return ContainerLabels(
        uid=spec.uid,
        zone=spec.zone,
        container=spec.container.name,
        attempt=spec.attempt,
        image=spec.container.image,
        fallback_to_logs=spec.container.termination_fallback_to_logs,
    )
