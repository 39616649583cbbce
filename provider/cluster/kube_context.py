"""The context that `zonelet up` adds to the user's kubeconfig, and that `zonelet down` takes out again, as kind does.

The file is $KUBECONFIG (of several, the last one, where kubectl writes too) or ~/.kube/config. Other entries of it are
kept; which context was current before is remembered in the state directory and comes back, unless the user has chosen
another in the meantime. The file is locked as kubectl locks it (`<file>.lock`) and replaced in one step.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from provider.cluster.steps import SetupError
from provider.cluster.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["KubeContext", "context_name", "user_kubeconfig"]

_KINDS = ("clusters", "users", "contexts")


def user_kubeconfig(environment: Mapping[str, str]) -> Path:
    """Return the file that kubectl would write to."""
    files = [each for each in environment.get("KUBECONFIG", "").split(os.pathsep) if each]
    return Path(files[-1]) if files else Path(environment.get("HOME") or Path.home()) / ".kube" / "config"


def context_name(installation: str) -> str:
    """Return the context of an installation: `zonelet`, or `zonelet-<name>`."""
    return installation if installation == "zonelet" else f"zonelet-{installation}"


class _Known(msgspec.Struct, frozen=True):
    """Which kubeconfig was changed, what was current there before, and whether the file was made."""

    file: str
    previous: str
    made: bool


@dataclass(frozen=True)
class KubeContext:
    """The context `name`; `record` remembers which file has it and what was current there before."""

    name: str
    record: Path

    def add(self, kubeconfig: Path, target: Path) -> None:
        """Put the only context of `kubeconfig` into `target` under this name, and make it current.

        Where both are the same file (`up` advises to export it) the context is there already. SetupError when the
        target cannot be read, or has a context of this name that is not ours.
        """
        if target.resolve() == kubeconfig.resolve():
            return
        ours = yaml.safe_load(kubeconfig.read_text())
        known = self._known()
        with _locked(target):
            document = _read(target)
            if known is None or known.file != str(target):
                taken = [each for kind in _KINDS for each in document.get(kind) or () if each.get("name") == self.name]
                if taken:
                    raise SetupError(
                        f"the kubeconfig {target} has a context, cluster or user named {self.name} already",
                        "it was not made by this installation, so it is left alone",
                        f"rename it (kubectl config rename-context {self.name} OTHER), or use: zonelet up --name OTHER",
                    )
                known = _Known(str(target), str(document.get("current-context") or ""), not target.exists())
                write_whole(self.record, msgspec.json.encode(known))
            entries = {
                "clusters": {"name": self.name, "cluster": ours["clusters"][0]["cluster"]},
                "users": {"name": self.name, "user": ours["users"][0]["user"]},
                "contexts": {"name": self.name, "context": {"cluster": self.name, "user": self.name}},
            }
            changed = {"apiVersion": "v1", "kind": "Config"} | document
            for kind, entry in entries.items():
                others = [each for each in document.get(kind) or () if each.get("name") != self.name]
                changed[kind] = [*others, entry]
            changed["current-context"] = self.name
            if changed != document:
                _write(target, changed)

    def remove(self) -> bool:
        """Take out what `add` put in, and make the earlier context current again; return whether there was one."""
        known = self._known()
        if known is None:
            return False
        target = Path(known.file)
        if target.exists():
            with _locked(target):
                document = _read(target)
                for kind in _KINDS:
                    document[kind] = [each for each in document.get(kind) or () if each.get("name") != self.name]
                if document.get("current-context") == self.name:
                    names = [each["name"] for each in document["contexts"]]
                    document["current-context"] = known.previous if known.previous in names else ""
                if known.made and not any(document[kind] for kind in _KINDS):
                    target.unlink()
                else:
                    _write(target, document)
        self.record.unlink()
        return True

    def _known(self) -> _Known | None:
        if not self.record.exists():
            return None
        try:
            return msgspec.json.decode(self.record.read_bytes(), type=_Known)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SetupError(
                f"{self.record} cannot be used",
                f"it tells which kubeconfig has the context {self.name}, and is spoiled: {error}",
                f"remove it, and from your kubeconfig, if they are there: kubectl config delete-context {self.name}; "
                f"kubectl config delete-cluster {self.name}; kubectl config delete-user {self.name}",
            ) from error


def _read(path: Path) -> dict[str, Any]:
    """Return the document; an absent or empty file is an empty one."""
    try:
        document = yaml.safe_load(path.read_text()) if path.exists() else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unusable(path, str(error)) from error
    if document is not None and not isinstance(document, dict):
        raise _unusable(path, "it is no mapping")
    return document or {}


def _write(path: Path, document: dict[str, Any]) -> None:
    path = path.resolve()  # a link stays a link
    part = path.with_name(f".{path.name}.zonelet")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(yaml.safe_dump(document, sort_keys=False))
    if path.exists():
        part.chmod(path.stat().st_mode & 0o777)
        os.chown(part, path.stat().st_uid, path.stat().st_gid)
    part.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold kubectl's lock of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    try:
        lock.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise SetupError(
            f"the kubeconfig {path} is locked",
            f"{lock} exists: a kubectl writes it now, or one ended while it did",
            f"try again; if no kubectl runs, remove {lock}",
        ) from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _unusable(path: Path, why: str) -> SetupError:
    return SetupError(f"the kubeconfig {path} cannot be used", why, "correct it, or set KUBECONFIG to another file")
