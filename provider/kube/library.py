"""kubernetes_asyncio's kubeconfig and in-cluster loaders, without the API classes that it generates (ADR 0005).

Importing any part of the library imports them all: 1,600 modules, 38 MB, 0.6 s of CPU. Nothing here uses them: what
goes over the wire is raw JSON (client.py). They are passed over while the library is imported, and can be imported by
their own names afterwards.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ConfigException", "Configuration", "kube_config", "load_incluster_config"]

_GENERATED = ("kubernetes_asyncio.client.api", "kubernetes_asyncio.client.models")


class _PassedOver(ModuleType):
    """Has whatever a `from … import` asks for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Missing


class _Missing:
    def __init__(self, *_: object, **__: object) -> None:
        raise TypeError("kubernetes_asyncio's generated classes are not loaded here: see provider/kube/library.py")


class _PassOver(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, rest = fullname.partition(".client.")
        if package != "kubernetes_asyncio" or rest.split(".")[0] not in ("api", "models"):
            return None
        return ModuleSpec(fullname, self, is_package=fullname in _GENERATED)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _PassedOver(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave it empty."""


_finder = _PassOver()
sys.meta_path.insert(0, _finder)
try:
    from kubernetes_asyncio.client import Configuration
    from kubernetes_asyncio.config import ConfigException, kube_config, load_incluster_config
finally:
    sys.meta_path.remove(_finder)
    for _name in [name for name, module in sys.modules.items() if isinstance(module, _PassedOver)]:
        del sys.modules[_name]
    for _name in _GENERATED:  # the import system also hangs a package on its parent
        _parent, _, _child = _name.rpartition(".")
        vars(sys.modules[_parent]).pop(_child, None)
