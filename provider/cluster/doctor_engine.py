"""Judges the Docker engine: which ones are supported, which are refused, and why."""

from __future__ import annotations

import os
import platform
import re
from typing import TYPE_CHECKING, Any

from provider.cluster.doctor_finding import Finding, State
from provider.cluster.engine import OLDEST_ENGINE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SUPPORTED", "check_engine", "check_limits", "check_locality", "check_root", "no_engine"]

SUPPORTED = (
    "supported: rootful Docker Engine on Linux, 20.10 or later (Debian's docker.io or Docker's own packages), "
    "cgroup v1 or v2, cgroup driver cgroupfs or systemd, on this very machine"
)
_LOCAL_CLUSTER_BYTES = 2 * 2**30


def check_root() -> Finding:
    """See whether this process may do what the engine's API cannot."""
    means = "volumes, cgroups and network namespaces of pods are handled on the host itself, which needs root"
    if os.geteuid() == 0:
        return Finding("root", State.OK, "yes", means)
    return Finding("root", State.MISSING, f"no, user id {os.geteuid()}", means, "run it as root (sudo)")


def no_engine(error: str) -> Finding:
    """Return what is found when no engine answers."""
    advice = f"run: zonelet up (as root on Debian it installs docker.io and starts it); or start your own. {SUPPORTED}"
    return Finding("engine", State.MISSING, f"no engine answers: {error}", "pods are its containers", advice)


def check_engine(info: Mapping[str, Any], version: Mapping[str, Any] | None = None) -> Finding:
    """Judge the engine's answers to /info and /version."""
    number, system = str(info.get("ServerVersion", "")), str(info.get("OSType", ""))
    cgroups, driver = str(info.get("CgroupVersion", "1")), str(info.get("CgroupDriver", "none"))
    product = str(info.get("OperatingSystem", ""))
    parts = [str(each.get("Name", "")) for each in (version or {}).get("Components") or ()]
    found = f"{number}, {system}, {product}, cgroup v{cgroups}, driver {driver}"
    faults = []
    if any("podman" in each.lower() for each in parts):
        faults.append("it is Podman's emulation of the API, which lacks events, labels and networks as Docker has them")
    elif not _new_enough(number):
        faults.append("it is older than 20.10, the first one for cgroup v2 and the API version 1.41")
    if "docker desktop" in product.lower():
        faults.append("it is Docker Desktop: containers run in a virtual machine whose namespaces are out of reach")
    if system != "linux":
        faults.append("it does not run Linux containers")
    if any("rootless" in str(option) for option in info.get("SecurityOptions") or ()):
        faults.append("it is rootless: it can neither set network namespaces up nor use cgroups of its own choice")
    if driver not in {"cgroupfs", "systemd"} or cgroups not in {"1", "2"}:
        faults.append("it has no cgroup driver, so pods would have no limits")
    advice = f"{' and '.join(faults)}; {SUPPORTED}" if faults else ""
    state = State.MISSING if faults else State.OK
    return Finding("engine", state, found, "every pod is a group of its containers", advice)


def check_locality(address: str, info: Mapping[str, Any]) -> Finding:
    """See whether the engine runs on this machine: host directories and process ids have to be the same ones."""
    means = "the provider reaches the containers' files, cgroups and namespaces on the engine's host (HostOps)"
    kernel = str(info.get("KernelVersion", ""))
    local = address.startswith("unix:")
    if not local:
        why = f"the engine at {address} is another machine's"
    elif kernel != platform.release():
        why = f"the engine's kernel is {kernel}, this machine's {platform.release()}: it runs in a virtual machine"
    else:
        return Finding("engine's host", State.OK, "this machine", means)
    return Finding("engine's host", State.MISSING, why, means, "run zonelet on the engine's host, with its socket")


def check_limits(info: Mapping[str, Any]) -> list[Finding]:
    """See which resource controllers the engine can use, and whether there is room for the local cluster."""
    names = {"MemoryLimit": "memory", "CpuCfsQuota": "cpu quota", "PidsLimit": "pids"}
    absent = [text for key, text in names.items() if info.get(key) is False]
    found = f"absent: {', '.join(absent)}" if absent else "memory, cpu quota, pids"
    advice = "boot with these cgroup controllers (cgroup_enable=memory), then restart the engine" if absent else ""
    state = State.MISSING if {"memory", "cpu quota"} & set(absent) else State.NOTE if absent else State.OK
    limits = Finding("cgroup controllers", state, found, "a pod's resources become limits of its cgroup", advice)
    size, cpus = int(info.get("MemTotal", 0)), int(info.get("NCPU", 0))
    room = f"{cpus} CPUs, {size / 2**30:.1f} GiB"
    means = "pods share what the host has (80 % of the memory, all but half a CPU); past it new ones wait"
    if size < _LOCAL_CLUSTER_BYTES:
        return [limits, Finding("host size", State.NOTE, room, means, "the local cluster and Argo want 2 GiB")]
    return [limits, Finding("host size", State.OK, room, means)]


def _new_enough(version: str) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return numbers is not None and tuple(int(each) for each in numbers.groups()) >= OLDEST_ENGINE
