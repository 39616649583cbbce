from __future__ import annotations

from typing import TYPE_CHECKING

from provider.clock import SystemClock
from provider.cluster.installation import Installation
from provider.cluster.overview import look_at
from provider.exclusive import hold
from tests.support.names import own_name

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_provider_that_runs_as_a_container_runs(tmp_path: Path) -> None:
    installation = Installation(own_name("network-status"), tmp_path / "state", SystemClock())

    async def provider() -> dict[str, object]:
        return next(row for row in (await look_at(installation)).components if row["component"] == "provider")

    assert (await provider())["running"] is False
    with hold(installation.name, tmp_path / "another"):
        row = await provider()
    assert (row["running"], row["pid"]) == (True, None)
    assert "docker logs" in str(row["log"])
