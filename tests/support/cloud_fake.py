"""FakeCloud: ElasticBackend's instances in memory, moved on by the test, with the contract's rules of identity."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from provider.model.errors import CloudCode, CloudError
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import (
    TERMINAL,
    Change,
    ContainerPhase,
    ContainerState,
    ContainerStatus,
    Instance,
    InstanceChanged,
    InstanceGone,
    InstancePhase,
    Notice,
    Synced,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from provider.clock import Clock
    from provider.model.request import InstanceRequest, RegistryCredential
    from provider.model.volume import FileEntry


class FakeCloud:
    """`requests` keeps the accepted creations, `deletions` (uid, grace), `files` the updates."""

    def __init__(self, clock: Clock) -> None:
        self.requests: list[InstanceRequest] = []
        self.deletions: list[tuple[str, float]] = []
        self.forgotten: list[str] = []
        self.files: list[tuple[str, str, Sequence[FileEntry]]] = []
        self.credentials: list[tuple[str, tuple[RegistryCredential, ...]]] = []
        self.refusals: list[CloudError] = []
        self.ends_at_once = True
        """a deletion ends the containers and releases the instance without the test's help"""
        self._clock = clock
        self._tokens: dict[PodUid, InstanceRequest] = {}
        self._instances: dict[PodUid, Instance] = {}
        self._watchers: list[asyncio.Queue[Change | CloudError]] = []
        self._revision = 0

    # ------------------------------------------------------------------ for tests

    def held(self) -> dict[str, Instance]:
        return {str(uid): one for uid, one in self._instances.items()}

    def run(self, uid: str, address: str = "10.0.0.4") -> None:
        """Place the instance and start its containers."""
        now = self._clock.now()
        state = ContainerState(phase=ContainerPhase.RUNNING, started_at=now, container_id="fake://c")
        self._change(
            uid,
            phase=InstancePhase.RUNNING,
            address=address,
            placed_at=now,
            sandbox_ready_at=now,
            initialized_at=now,
            containers=tuple(
                replace(one, state=state, ready=True, started=True) for one in self._instances[PodUid(uid)].containers
            ),
        )

    def wait(self, uid: str, state: ContainerState) -> None:
        """Let every container of an instance wait in this state."""
        held = self._instances[PodUid(uid)]
        self._change(uid, containers=tuple(replace(one, state=state) for one in held.containers))

    def end(self, uid: str, exit_code: int = 0, *, released: bool = True) -> None:
        """End all containers."""
        now = self._clock.now()
        containers = tuple(
            replace(
                one,
                ready=False,
                started=False,
                state=ContainerState(
                    phase=ContainerPhase.TERMINATED,
                    reason="Error" if exit_code else "Completed",
                    exit_code=exit_code,
                    started_at=one.state.started_at,
                    finished_at=now,
                    container_id=one.state.container_id,
                )
                if one.state.phase is ContainerPhase.RUNNING
                else one.state,
            )
            for one in self._instances[PodUid(uid)].containers
        )
        ran = any(one.state.phase is ContainerPhase.TERMINATED for one in containers)
        phase = InstancePhase.SUCCEEDED if ran and not exit_code else InstancePhase.FAILED
        self._change(uid, phase=phase, containers=containers, released=released, finished_at=now)

    def notice(self, uid: str, reason: str, message: str, container: str = "") -> None:
        self._send(Notice(uid=PodUid(uid), reason=reason, message=message, container=container))

    def lose(self, uid: str, *, silently: bool = False) -> None:
        """Let the instance disappear, its token stays used up."""
        del self._instances[PodUid(uid)]
        if not silently:
            self._send(InstanceGone(PodUid(uid), self._revision))

    def forget_everything(self) -> None:
        """As a cloud whose journal is lost: not even the tokens are known."""
        self._instances.clear()
        self._tokens.clear()

    def cut(self) -> None:
        """Break all watches."""
        self._send(CloudError(CloudCode.UNAVAILABLE, "connection lost", 1))

    def add(self, uid: str, zone: str = "zone-a", name: str = "p", namespace: str = "n") -> None:
        """Let an instance be there that nobody of this test has asked for."""
        one = Instance(
            uid=PodUid(uid), id=InstanceId(f"eci-{uid}"), zone=ZoneId(zone), name=name, namespace=namespace,
            containers=(ContainerStatus(name="c"),),
        )  # fmt: skip
        self._instances[one.uid] = one
        self.run(uid)

    # ------------------------------------------------------------------ ElasticBackend

    async def create_instance(self, request: InstanceRequest) -> Instance:
        await self._clock.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        known = self._tokens.get(request.uid)
        if known is not None:
            if known == request and request.uid in self._instances:
                return self._instances[request.uid]
            raise CloudError(CloudCode.TOKEN_CONFLICT, "this client token was used before")
        self._tokens[request.uid] = request
        self.requests.append(request)
        self._instances[request.uid] = Instance(
            uid=request.uid,
            id=InstanceId(f"eci-{request.uid}"),
            zone=request.zone,
            name=request.name,
            namespace=request.namespace,
            cpu=request.cpu,
            memory=request.memory,
            created_at=self._clock.now(),
            active_deadline=request.active_deadline,
            containers=tuple(ContainerStatus(name=one.name, kind=one.kind) for one in request.containers),
        )
        self._change(request.uid)
        return self._instances[request.uid]

    async def delete_instance(self, uid: PodUid, grace: float) -> Instance:
        await self._clock.sleep(0)
        one = self._instances.get(uid)
        if one is None:
            raise CloudError(CloudCode.NOT_FOUND, f"no instance {uid}")
        self.deletions.append((uid, grace))
        self._change(
            uid,
            deletion_requested_at=one.deletion_requested_at or self._clock.now(),
            grace=grace if one.grace is None else min(grace, one.grace),
        )
        if self.ends_at_once and one.phase not in TERMINAL:
            self.end(uid, 137)
        return self._instances[uid]

    async def forget_instance(self, uid: PodUid) -> None:
        await self._clock.sleep(0)
        one = self._instances.get(uid)
        if one is None:
            return
        if not one.released:
            raise CloudError(CloudCode.INCORRECT_STATUS, "not released")
        del self._instances[uid]
        self.forgotten.append(uid)
        self._send(InstanceGone(uid, self._revision))

    async def update_files(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        await self._clock.sleep(0)
        self.files.append((uid, volume, files))

    async def update_credentials(self, uid: PodUid, credentials: Sequence[RegistryCredential]) -> None:
        await self._clock.sleep(0)
        self.credentials.append((uid, tuple(credentials)))

    async def update_deadline(self, uid: PodUid, active_deadline: float | None) -> Instance:
        await self._clock.sleep(0)
        self._change(uid, active_deadline=active_deadline)
        return self._instances[uid]

    async def describe_instance(self, uid: PodUid) -> Instance:
        await self._clock.sleep(0)
        if uid not in self._instances:
            raise CloudError(CloudCode.NOT_FOUND, f"no instance {uid}")
        return self._instances[uid]

    async def watch(self) -> AsyncGenerator[Change, None]:
        queue: asyncio.Queue[Change | CloudError] = asyncio.Queue()
        for one in self._instances.values():
            queue.put_nowait(InstanceChanged(one))
        queue.put_nowait(Synced(self._revision))
        self._watchers.append(queue)
        try:
            while True:
                change = await queue.get()
                if isinstance(change, CloudError):
                    raise change
                yield change
        finally:
            self._watchers.remove(queue)

    # ------------------------------------------------------------------

    def _change(self, uid: str, **fields: object) -> None:
        self._revision += 1
        one = replace(self._instances[PodUid(uid)], revision=self._revision, **fields)
        self._instances[PodUid(uid)] = one
        self._send(InstanceChanged(one))

    def _send(self, change: Change | CloudError) -> None:
        for queue in self._watchers:
            queue.put_nowait(change)
