"""What instances use, from the cgroup and network files of the engine's host: no call to the engine. Blocking.

A listing of all containers costs the engine as much as some starts, and every node is asked every few seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provider.model.usage import ContainerUsage, InstanceUsage, InterfaceUsage

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.cloud.runtime.base import SandboxSpec, SeenContainer
    from provider.cloud.runtime.docker_engine.cgroups import Cgroups
    from provider.model.ids import PodUid

_RECEIVED, _SENT = 0, 8
"""Where each direction's bytes stand in a line of /proc/<pid>/net/dev; errors are two further on."""


def read_usage(
    cgroups: Cgroups,
    spec: Callable[[PodUid], SandboxSpec | None],
    seen: Callable[[str], SeenContainer | None],
    now: float,
) -> list[InstanceUsage]:
    """Return what every instance with a cgroup uses at `now`.

    `spec` knows what an instance was made from, `seen` what was last seen of a container: one that nobody has looked
    at yet is left out, and so is the sandbox's own.
    """
    found = []
    for uid in cgroups.uids():
        made, whole = spec(uid), cgroups.use(uid, now)
        if made is None or whole is None:
            continue
        containers, pid = [], None
        for container_id in cgroups.container_ids(uid):
            known = seen(container_id)
            part = None if known is None else cgroups.container_use(uid, container_id, now)
            if known is not None and part is not None and known.started_at is not None:
                containers.append(ContainerUsage(known.name, known.started_at, part.use, part.memory_limit))
            pid = pid or cgroups.first_process(uid, container_id)
        if pid is not None:  # without any process it is on its way out
            found.append(
                InstanceUsage(
                    uid=uid,
                    zone=made.zone,
                    use=whole.use,
                    memory_limit=whole.memory_limit,
                    containers=tuple(sorted(containers, key=lambda one: one.name)),
                    interfaces=read_interfaces(Path(f"/proc/{pid}/net/dev")),
                    processes=whole.processes,
                )
            )
    return found


def read_interfaces(file: Path) -> tuple[InterfaceUsage, ...]:
    """Return the counters of every interface but the loopback (proc(5), /proc/net/dev)."""
    try:
        lines = file.read_text().splitlines()[2:]
    except OSError:  # the process has ended meanwhile
        return ()
    found = []
    for line in lines:
        name, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split()]
        if name.strip() != "lo":
            found.append(
                InterfaceUsage(
                    name.strip(), numbers[_RECEIVED], numbers[_RECEIVED + 2], numbers[_SENT], numbers[_SENT + 2]
                )
            )
    return tuple(found)
