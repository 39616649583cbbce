"""Cgroups as systemd slices, for the engine's cgroup driver `systemd`: systemd alone writes below its root. Blocking.

A slice's place is its name: `zonelet_a-b.slice` lies in `zonelet_a.slice`. Dashes in names become underscores, as the
kubelet does it (k8s.io/kubernetes/pkg/kubelet/cm/cgroup_manager_linux.go). Units are transient: nothing stays on disk.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.cgroups import (
    CgroupReadings,
    Limits,
    child_names,
    cpu_weight,
    remove_tree,
)
from provider.cloud.runtime.docker_engine.instance_store import checked
from provider.model.ids import PodUid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provider.cloud.runtime.docker_engine.cgroups import Hierarchies

_CALL_SECONDS = 30
_HOST_ROOT = "/proc/1/root"
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_EXISTS = ("already exists", "already loaded", "has a fragment file")


def on_host(command: Sequence[str], which: Callable[[str], str | None] = shutil.which) -> Sequence[str]:
    """Return the command, as it is on the host if this is a container that shares its pids and lacks the program."""
    return command if which(command[0]) else ["chroot", _HOST_ROOT, *command]


def run_command(command: Sequence[str]) -> str:
    """Run a command; OSError with what it said when it fails."""
    try:
        done = subprocess.run(on_host(command), capture_output=True, text=True, check=False, timeout=_CALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{command[0]} did not end within {_CALL_SECONDS} s") from error
    if done.returncode != 0:
        raise OSError(f"{' '.join(command[:3])}: {done.stderr.strip()}")
    return done.stdout


class Slices(CgroupReadings):
    """Cgroups by systemd."""

    def __init__(
        self,
        installation: str,
        cap: Limits,
        hierarchies: Hierarchies,
        run: Callable[[Sequence[str]], str] = run_command,
    ) -> None:
        super().__init__(hierarchies)
        self._stem = "zonelet_" + checked(installation).replace("-", "_")
        self._cap = cap
        self._run = run

    def ensure(self) -> None:
        """See Cgroups."""
        self._start(self._root(), self._cap, weight=False)

    def parent(self, uid: PodUid) -> str:
        """See Cgroups."""
        return f"{self._stem}-{checked(uid).replace('-', '_')}.slice"

    def make(self, uid: PodUid, limits: Limits) -> None:
        """See Cgroups."""
        self._start(self.parent(uid), limits, weight=True)

    def remove(self, uid: PodUid) -> bool:
        """See Cgroups."""
        return self._stop(self.parent(uid), self._instance(uid))

    def uids(self) -> list[PodUid]:
        """See Cgroups; a UID's dashes are given back, for a pod's UID has no underscores."""
        prefix, suffix = f"{self._stem}-", ".slice"
        names = child_names(self._hierarchies, self._root())
        return [
            PodUid(name.removeprefix(prefix).removesuffix(suffix).replace("_", "-"))
            for name in names
            if name.startswith(prefix) and name.endswith(suffix)
        ]

    def remove_all(self) -> bool:
        """See Cgroups."""
        gone = [self.remove(uid) for uid in self.uids()]
        return self._stop(self._root(), self._root()) and all(gone)

    def _root(self) -> str:
        return f"{self._stem}.slice"

    def _instance(self, uid: PodUid) -> str:
        return f"{self._root()}/{self.parent(uid)}"

    def _container(self, uid: PodUid, container_id: str) -> str:
        """Return the engine's scope in the instance's slice."""
        return f"{self._instance(uid)}/docker-{container_id}.scope"

    def _start(self, unit: str, limits: Limits, *, weight: bool) -> None:
        v2 = self._hierarchies.is_v2
        values: dict[str, int] = {}
        if limits.memory:
            values["MemoryMax" if v2 else "MemoryLimit"] = limits.memory
        if limits.cpu:
            values["CPUQuotaPerSecUSec"] = min(limits.cpu, self._cap.cpu) * 1000
            if weight:
                values["CPUWeight" if v2 else "CPUShares"] = (
                    cpu_weight(limits.cpu) if v2 else max(2, limits.cpu * 1024 // 1000)
                )
        properties = [str(len(values)), *(word for name, value in values.items() for word in (name, "t", str(value)))]
        call = ["busctl", "call", *_MANAGER]
        try:
            self._run([*call, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", *properties, "0"])
        except OSError as error:
            if not any(text in str(error) for text in _EXISTS):
                raise
            self._run([*call, "SetUnitProperties", "sba(sv)", unit, "true", *properties])

    def _stop(self, unit: str, path: str) -> bool:
        """Stop an empty slice, and remove what the engine left of it in the hierarchies that systemd does not use."""
        if any((root / path / "cgroup.procs").exists() for root in self._hierarchies.all()):
            if self._busy(path):
                return False
            self._run(["systemctl", "stop", unit])
        return remove_tree(self._hierarchies, path)

    def _busy(self, path: str) -> bool:
        """Whether a process is in the slice or below it: stopping a slice would kill it."""
        return any(
            file.read_text().strip() for root in self._hierarchies.all() for file in (root / path).rglob("cgroup.procs")
        )
