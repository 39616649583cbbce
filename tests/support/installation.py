"""An installation for a test: brought up and taken down by the code of `zonelet up` and `zonelet down`.

    with installed(own_name("restart")) as lab:                    # everything, stock Argo included
    with installed(own_name("robust"), argo=False, config={...}):  # without Argo, with a configuration of the test's own

`config` is a ProviderConfig document; what it does not say has the defaults of `up`. The state directory is a new one,
and nothing is written to the user's kubeconfig.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from provider.clock import SystemClock
from provider.cluster.build import cache_root
from provider.cluster.down import take_down
from provider.cluster.installation import Installation
from provider.cluster.local_up import up_local
from provider.cluster.steps import Steps
from provider.kube.client import HttpKubeApi
from provider.rpc.client import RemoteBackend
from tests.support.leftovers import STATES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from provider.cluster.local_up import Running


@dataclass(frozen=True)
class Lab:
    """An installation that is up."""

    installation: Installation
    running: Running

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.installation.local.kubeconfig

    @asynccontextmanager
    async def api(self) -> AsyncIterator[HttpKubeApi]:
        """A client of the API server, as administrator."""
        api = await HttpKubeApi.from_kubeconfig(str(self.kubeconfig))
        try:
            yield api
        finally:
            await api.close()

    def cloud(self) -> RemoteBackend:
        """The provider's elastic API over its socket; an async context manager."""
        return RemoteBackend(f"unix:{self.installation.state / 'elastic.sock'}")


@contextmanager
def installed(
    name: str, *, argo: bool = True, stock: bool = False, config: Mapping[str, Any] | None = None
) -> Iterator[Lab]:
    """Bring an installation up, and take it down whatever happened; the logs are kept below the cache directory."""
    state = Path(tempfile.mkdtemp(prefix=f"zl-{name}-", dir=STATES))
    installation = Installation(name, state / "state", SystemClock())
    file = None
    if config is not None:
        file = state / "config.yaml"
        file.write_text(yaml.safe_dump(dict(config)))
    try:
        running = asyncio.run(up_local(installation, Steps(), config=file, argo=argo, stock=stock))
        try:
            yield Lab(installation, running)
        finally:
            installation.keep_logs(cache_root() / "logs" / f"test-{name}")
            asyncio.run(take_down(installation, Steps()))
    finally:
        if not installation.state.exists():  # else something runs from there still: leftovers.sweep ends it
            shutil.rmtree(state)
