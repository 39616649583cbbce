"""What instances use, as the engine's host counts it. Bytes, nanoseconds of CPU, seconds since the epoch."""

from __future__ import annotations

from msgspec import Struct

from provider.model.ids import PodUid, ZoneId


class Use(Struct, frozen=True, omit_defaults=True):
    """CPU and memory at one moment `at`.

    `cpu`: nanoseconds of CPU since the beginning; it only grows. `memory`: everything charged; `working_set`: without
    inactive file pages (cAdvisor's and the kubelet's rule); `rss`: anonymous pages. `page_faults`, `major_faults`:
    since the beginning.
    """

    at: float
    cpu: int = 0
    memory: int = 0
    working_set: int = 0
    rss: int = 0
    page_faults: int = 0
    major_faults: int = 0


class ContainerUsage(Struct, frozen=True, omit_defaults=True):
    """One running container. `memory_limit` in bytes, 0: none but the instance's."""

    name: str
    started_at: float
    use: Use
    memory_limit: int = 0


class InterfaceUsage(Struct, frozen=True, omit_defaults=True):
    """One network interface of an instance, counted since it was made."""

    name: str
    received_bytes: int = 0
    received_errors: int = 0
    sent_bytes: int = 0
    sent_errors: int = 0


class InstanceUsage(Struct, frozen=True, omit_defaults=True):
    """An instance as a whole, with what its sandbox needs and its ended containers have used."""

    uid: PodUid
    zone: ZoneId
    use: Use
    memory_limit: int = 0
    containers: tuple[ContainerUsage, ...] = ()
    interfaces: tuple[InterfaceUsage, ...] = ()
    processes: int = 0


class DiskUse(Struct, frozen=True, omit_defaults=True):
    """The local disk that an instance uses, in bytes: by emptyDir that is no tmpfs, by running container, altogether.

    A container's part is its writable layer and its log. `total` has the instance's /etc files too.
    """

    uid: PodUid
    volumes: tuple[tuple[str, int], ...] = ()
    containers: tuple[tuple[str, int], ...] = ()
    total: int = 0
