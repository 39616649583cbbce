"""One installation: its name, its state directory, and what `up` and `down` agree on to be in it.

    installation.json      which kind of cluster it is, and what `down` must know of it
    provider.yaml          the provider's configuration, as `up` chose it
    provider.kubeconfig    the provider's credential
    blocks.json            the block of the cluster's network
    kube-context.json      where the user's kubeconfig was changed (kube_context.py)
    run/                   pid files and logs
    admin.kubeconfig, pki/, etcd/ ...   the local control plane (local.py)

The provider adds its own below it: journal, nodes/, instances/.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from provider.cluster.kube_context import KubeContext, context_name
from provider.cluster.local import LocalCluster
from provider.cluster.processes import Process, wait_until
from provider.cluster.steps import SetupError
from provider.cluster.whole_file import remove_whole, write_whole
from provider.exclusive import is_held

if TYPE_CHECKING:
    from provider.clock import Clock

__all__ = ["Installation", "Record"]

_OWN_FILES = (
    "installation.json",
    "provider.yaml",
    "provider.kubeconfig",
    "kube-context.json",
    "cluster-ca.crt",
    "blocks.json",
)
_PROVIDERS = ("nodes", "instances", "logs", "run")
_PROVIDERS_FILES = ("journal.sqlite*", "provider.lock", "elastic.sock", "pulls.json*")
_HOME = Path("/var/lib/zonelet")
_ENDING_SECONDS = 10.0


class Record(msgspec.Struct, frozen=True):
    """All that `down` needs to know: which cluster was joined, and the engine's address (runtime.docker.host)."""

    cluster: str
    context: str = ""
    server: str = ""
    kubeconfig: str = ""
    engine: str = ""


@dataclass(frozen=True)
class Installation:
    """The installation `name`, whose everything is below `state` (absolute)."""

    name: str
    state: Path
    clock: Clock

    @classmethod
    def find(cls, name: str, clock: Clock) -> Installation:
        """Return the installation at $ZONELET_STATE_DIR, else at /var/lib/zonelet/<name>."""
        state = Path(os.environ.get("ZONELET_STATE_DIR") or _HOME / name)
        return cls(name, state.absolute(), clock)

    @property
    def local(self) -> LocalCluster:
        """Return the control plane, which only `--cluster local` has."""
        return LocalCluster(self.name, self.state, self.clock)

    @property
    def provider_config(self) -> Path:
        """Return the configuration that the provider runs with."""
        return self.state / "provider.yaml"

    @property
    def provider_kubeconfig(self) -> Path:
        """Return the provider's credential."""
        return self.state / "provider.kubeconfig"

    @property
    def provider(self) -> Process:
        """Return the daemon `zonelet run`."""
        return Process("provider", self.state / "run")

    @property
    def _record(self) -> Path:
        return self.state / "installation.json"

    @property
    def context(self) -> KubeContext:
        """Return the context in the user's kubeconfig."""
        return KubeContext(context_name(self.name), self.state / "kube-context.json")

    def record(self) -> Record | None:
        """Return what `up` wrote down; None when there is no installation. SetupError when it cannot be read."""
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SetupError(
                f"{self._record} cannot be used",
                f"it tells which cluster {self.name} is in, and is spoiled: {error}",
                'write {"cluster": "local"} into it, or {"cluster": "current", "context": "NAME"} if it joined the '
                f"cluster of that kube context; then run: zonelet down --name {self.name}",
            ) from error

    async def require_unserved(self) -> None:
        """Raise SetupError when a provider that this state directory did not start serves the installation's name.

        Containers and networks are known by the name: what is undone or removed here would be that provider's. One of
        ours that was just killed is waited for: the kernel lets go of its name when the last of its threads has ended.
        """
        if self.provider.pid() is not None or not is_held(self.name):
            return
        ended = self.provider.pid_file.exists()
        if not ended or not await wait_until(self.clock, lambda: not is_held(self.name), _ENDING_SECONDS):
            raise SetupError(
                f"another provider of this machine serves an installation {self.name}",
                f"it was not started by `zonelet up` with the state directory {self.state}",
                "end it, or set ZONELET_STATE_DIR to its directory, or take another name: --name OTHER",
            )

    def write_record(self, record: Record) -> None:
        """Write down what `down` must know, before anything is made."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o700)
        write_whole(self._record, msgspec.json.encode(record))

    def keep_logs(self, target: Path) -> bool:
        """Copy the logs of all processes to `target`, which then holds nothing else; return whether there were any."""
        shutil.rmtree(target, ignore_errors=True)
        logs = sorted((self.state / "run").glob("*.log"))
        for log in logs:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, target / log.name)
        return bool(logs)

    def remove_files(self) -> None:
        """Remove what belongs to the installation; a file of somebody else keeps the directory."""
        for name in _OWN_FILES:
            remove_whole(self.state / name)
        for pattern in _PROVIDERS_FILES:
            for file in self.state.glob(pattern):
                file.unlink()
        for name in _PROVIDERS:
            if (self.state / name).exists():
                shutil.rmtree(self.state / name)
        for directory in (self.state, _HOME) if self.state.parent == _HOME else (self.state,):
            if directory.exists() and not any(directory.iterdir()):
                directory.rmdir()
