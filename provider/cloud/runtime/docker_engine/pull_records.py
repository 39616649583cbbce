"""Who may use an image that was pulled with a login: only those who have such a login.

Upstream: pkg/kubelet/images/pullmanager, on since v1.35 (KubeletEnsureSecretPulledImages). The kubelet's default is
NeverVerifyPreloadedImages: what nobody pulled here is free for all, and so is what was pulled without a login; what was
pulled with one is asked for at the registry again for a pod that has not that login. The records outlive the process in
one file of the state directory; of a login they keep a hash.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from provider.cloud.runtime.base import FaultKind, RuntimeFault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from provider.model.request import RegistryCredential

_MODE = 0o600


class _Access(Struct, omit_defaults=True):
    """Of one repository of one image: free for all, or the hashes of the logins that have opened it."""

    free: bool = False
    logins: list[str] = []


class PullRecords:
    """The records of one installation, by image ID and repository. Blocking: a file is written at each change."""

    def __init__(self, path: Path) -> None:
        """RuntimeFault CONFIG for a file that is no such thing: nothing may be free by mistake."""
        self._path = path
        self._images: dict[str, dict[str, _Access]] = {}
        if path.exists():
            try:
                self._images = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, _Access]])
            except msgspec.DecodeError as error:
                text = f"{path} is spoiled: {error}; remove it, and the images that were pulled with a login too"
                raise RuntimeFault(FaultKind.CONFIG, text) from error

    def may_use(self, image_id: str, repository: str, logins: Sequence[RegistryCredential]) -> bool:
        """Tell whether a pod with these logins may use the local image without asking the registry."""
        access = self._images.get(image_id, {}).get(repository)
        if access is None or access.free:
            return True
        return any(_hash(login) in access.logins for login in logins)

    def pulled(self, image_id: str, repository: str, login: RegistryCredential | None) -> None:
        """Take note of a pull; None: no login was needed."""
        access = self._images.setdefault(image_id, {}).setdefault(repository, _Access())
        if access.free or (login is not None and _hash(login) in access.logins):
            return
        if login is None:
            access.free, access.logins = True, []
        else:
            access.logins = [*access.logins, _hash(login)]
        part = self._path.with_suffix(".part")
        part.touch(mode=_MODE)
        part.write_bytes(msgspec.json.encode(self._images))
        part.rename(self._path)


def _hash(login: RegistryCredential) -> str:
    return sha256(f"{login.server}\0{login.username}\0{login.password}".encode()).hexdigest()
