"""Doing what the machine asks of the runtime: each act ends in one event, a failure in Faulted.

No act raises for what a runtime may refuse. What else it raises is a bug of the runtime: it is logged with its trace
and comes back as a fault too, so that the instance tries again and the others go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from provider.cloud.instances.endings import START_ERROR
from provider.cloud.instances.events import Event, Faulted, ImageReady, Observed, Released, SandboxReady, Stage
from provider.cloud.instances.specs import root_refusal, run_spec, sandbox_spec
from provider.cloud.instances.wording import go_duration
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.model.instance import Notice
from provider.model.volume import FilesVolume

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from provider.clock import Clock
    from provider.cloud.instances.instructions import CreateSandbox, EnsureImage, StartContainer
    from provider.cloud.instances.machine import InstanceMachine
    from provider.cloud.runtime.base import ContainerRuntime, Image
    from provider.model.ids import VSwitchId
    from provider.model.request import ContainerSpec, InstanceRequest

log = structlog.get_logger(__name__)

RETRY = 5.0
"""Seconds to the next try after an engine that is away, or a sandbox that could not be made."""
_FAULTS = {
    Stage.SANDBOX: FaultKind.SANDBOX,
    Stage.IMAGE: FaultKind.IMAGE_INSPECT,
    Stage.START: FaultKind.CREATE,
    Stage.RELEASE: FaultKind.SANDBOX,
}


class Acts:
    """The acts, over one runtime; `tell` takes the notices that only the act itself can word."""

    def __init__(self, runtime: ContainerRuntime, clock: Clock, tell: Callable[[Notice], None]) -> None:
        self._runtime = runtime
        self._clock = clock
        self._tell = tell

    async def guarded(self, stage: Stage, container: str, act: Coroutine[Any, Any, Event]) -> Event:
        """Return the act's event, or Faulted for what it raised."""
        try:
            return await act
        except RuntimeFault as fault:
            return Faulted(stage, fault.kind, fault.message, container, RETRY)
        except Exception as error:  # the boundary of the act: a bug is told, not left to end every instance
            log.exception("act failed by a bug of the runtime", stage=stage, container=container)
            text = f"internal error: {type(error).__name__}: {error}"
            return Faulted(stage, _FAULTS[stage], text, container, RETRY)

    async def create_sandbox(self, machine: InstanceMachine, wanted: CreateSandbox) -> Event:
        """Make the sandbox with the newest content of its files; one that died is removed first."""
        vswitch, address = _placed(machine)
        request = machine.request
        if wanted.renew:
            await self._runtime.release_sandbox(request.uid)
        await self._runtime.create_sandbox(sandbox_spec(request, vswitch, address))
        while machine.request is not request:  # files were updated while the sandbox was made
            older = {one.name: one for one in request.volumes}
            request = machine.request
            for volume in request.volumes:
                if isinstance(volume, FilesVolume) and volume is not older.get(volume.name):
                    await self._runtime.write_files(request.uid, volume.name, volume.files)
        return SandboxReady()

    async def ensure_image(self, request: InstanceRequest, wanted: EnsureImage) -> Event:
        """Have the image, telling of it in the kubelet's words, and check runAsNonRoot against its user."""
        spec = _container(request, wanted.container)
        begun = self._clock.now()

        def pulling() -> None:
            self._say(request, spec, "Pulling", f'Pulling image "{spec.image}"')

        try:
            image = await self._runtime.ensure_image(spec.image, spec.pull_policy, request.credentials, pulling)
        except RuntimeFault as fault:
            self._tell_refused(request, spec, fault)
            raise
        self._say(request, spec, "Pulled", _pulled_text(spec.image, image, self._clock.now() - begun))
        refusal = root_refusal(request, spec, image.user)
        if refusal:
            return Faulted(Stage.IMAGE, FaultKind.CONFIG, refusal, spec.name)
        return ImageReady(spec.name, image.id, image.digest)

    def _tell_refused(self, request: InstanceRequest, spec: ContainerSpec, fault: RuntimeFault) -> None:
        match fault.kind:
            case FaultKind.IMAGE_PULL:
                text = f'Failed to pull image "{spec.image}": {fault.message}'
                self._say(request, spec, "Failed", text, warning=True)
            case FaultKind.IMAGE_NEVER_PULL:
                self._say(request, spec, "ErrImageNeverPull", fault.message, warning=True)
            case FaultKind.INVALID_IMAGE_NAME | FaultKind.IMAGE_INSPECT:
                self._say(request, spec, "InspectFailed", fault.message, warning=True)

    async def start(self, machine: InstanceMachine, wanted: StartContainer) -> Event:
        """Start one attempt. One that could not start is told as the runtime sees it, with its container's id."""
        _, address = _placed(machine)
        request = machine.request
        spec = _container(request, wanted.container)
        try:
            seen = await self._runtime.start_container(
                run_spec(request, spec, wanted.attempt, wanted.image_id, address)
            )
        except RuntimeFault as fault:
            if fault.kind is not FaultKind.START:
                raise
            found = await self._runtime.inspect(request.uid)
            for one in () if found is None else found.containers:
                if one.exited and (one.name, one.attempt) == (wanted.container, wanted.attempt):
                    return Observed((one,), complete=False)
            return Faulted(Stage.START, START_ERROR, fault.message, wanted.container)
        return Observed((seen,), complete=False)

    async def release(self, machine: InstanceMachine) -> Event:
        """Remove the sandbox; an instance that never was placed has none."""
        if machine.placement is not None:
            await self._runtime.release_sandbox(machine.request.uid)
        return Released()

    def _say(
        self,
        request: InstanceRequest,
        spec: ContainerSpec,
        reason: str,
        text: str,
        *,
        warning: bool = False,
    ) -> None:
        now = self._clock.now()
        notice = Notice(uid=request.uid, reason=reason, message=text, warning=warning, container=spec.name, at=now)
        self._tell(notice)


def _placed(machine: InstanceMachine) -> tuple[VSwitchId, str]:
    if machine.placement is None:
        raise AssertionError(f"{machine.request.uid} has no address yet")
    return machine.placement


def _container(request: InstanceRequest, name: str) -> ContainerSpec:
    return next(one for one in request.containers if one.name == name)


def _pulled_text(name: str, image: Image, waited: float) -> str:
    """Return the text of Pulled (image_manager.go)."""
    if not image.pulled:
        text = f'Container image "{name}" already present on machine'
        return f"{text}: {image.note}" if image.note else f"{text} and can be accessed by the pod"
    times = f"{go_duration(image.seconds)} ({go_duration(max(waited, image.seconds))} including waiting)"
    return f'Successfully pulled image "{name}" in {times}. Image size: {image.size} bytes.'
