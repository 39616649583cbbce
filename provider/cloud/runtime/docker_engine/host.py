"""The engine and its host: which they are, whether they will do, and how much of them instances may have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.cgroups import CgroupFiles, Limits, host_cap, host_hierarchies
from provider.cloud.runtime.docker_engine.engine import faults
from provider.cloud.runtime.docker_engine.slices import Slices
from provider.cloud.runtime.docker_engine.states import engine_time
from provider.model.capacity import EngineInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiodocker import Docker

    from provider.cloud.runtime.docker_engine.cgroups import Cgroups

OLDEST_API = (1, 41)
_ENDPOINT_MAC_API = (1, 44)
_SOUND_LEAVES_API = (1, 42)
"""23.0: see network_turns."""
_MACHINE_ID = Path("/etc/machine-id")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DRIVERS = ("cgroupfs", "systemd")
_ROOTLESS = "name=rootless"
_APPARMOR = "name=apparmor"


class Host(Struct, frozen=True, kw_only=True):
    """What was found."""

    engine: EngineInfo
    api: tuple[int, int]
    cap: Limits
    systemd: bool
    asked_at: float
    """when this was, by the engine's clock: seconds since the epoch."""

    @property
    def mac_of_endpoint(self) -> bool:
        """Whether the engine takes MAC addresses of endpoints."""
        return self.api >= _ENDPOINT_MAC_API

    @property
    def leaves_one_by_one(self) -> bool:
        """Whether the engine may lock up when containers leave a network at the same time (network_turns)."""
        return self.api < _SOUND_LEAVES_API

    def cgroups(self, installation: str) -> Cgroups:
        """Return the cgroups as this engine's driver wants them. Blocking."""
        kind = Slices if self.systemd else CgroupFiles
        return kind(installation, self.cap, host_hierarchies())


async def look_at_host(client: Docker, cpu_reserve: float, memory_share: float) -> Host:
    """Ask the engine. RuntimeFault UNSUPPORTED for one that will not do, UNAVAILABLE for one that does not answer."""
    with faults(FaultKind.REFUSED):
        version = await client.version()
        info = await client.system.info()
    return read_host(version, info, cpu_reserve, memory_share)


def read_host(version: Mapping[str, Any], info: Mapping[str, Any], cpu_reserve: float, memory_share: float) -> Host:
    """Return what `GET /version` and `GET /info` say. RuntimeFault UNSUPPORTED."""
    major, minor = str(version["ApiVersion"]).split(".")
    api = (int(major), int(minor))
    if api < OLDEST_API:
        text = (
            f"Docker engine {version['Version']} (API {major}.{minor}) is too old: 20.10 (API 1.41) or later is needed"
        )
        raise RuntimeFault(FaultKind.UNSUPPORTED, text)
    if info.get("OSType", "linux") != "linux":
        raise RuntimeFault(FaultKind.UNSUPPORTED, f"the engine runs {info['OSType']} containers: Linux ones are needed")
    if _ROOTLESS in (info.get("SecurityOptions") or []):
        raise RuntimeFault(FaultKind.UNSUPPORTED, "the engine is rootless: it cannot give pods networks and limits")
    driver = str(info.get("CgroupDriver") or "none")
    if driver not in _DRIVERS:
        text = f"the engine's cgroup driver is {driver!r}: {' or '.join(_DRIVERS)} is needed"
        raise RuntimeFault(FaultKind.UNSUPPORTED, text)
    engine = EngineInfo(
        runtime=f"docker://{version['Version']}",
        os_image=str(info.get("OperatingSystem") or ""),
        kernel=str(info.get("KernelVersion") or ""),
        architecture=str(version.get("Arch") or "amd64"),
        operating_system=str(version.get("Os") or "linux"),
        machine_id=_read(_MACHINE_ID) or str(info.get("ID") or ""),
        boot_id=_read(_BOOT_ID),
        cpus=int(info["NCPU"]),
        memory=int(info["MemTotal"]),
        apparmor=_APPARMOR in (info.get("SecurityOptions") or []),
    )
    return Host(
        engine=engine,
        api=api,
        cap=host_cap(engine.cpus, engine.memory, cpu_reserve, memory_share),
        systemd=driver == "systemd",
        asked_at=engine_time(info["SystemTime"]) or 0.0,
    )


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
