"""What a killed run has left goes, what goes on stays."""

from __future__ import annotations

from contextlib import closing

import pytest

from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.cluster.engine import open_engine
from tests.support.leftovers import sweep
from tests.support.names import own_name

pytestmark = pytest.mark.integration

KILLED = "zt-swept-4194305-0a1b2c"


def test_only_ended_runs_are_swept() -> None:
    mine = own_name("kept")
    with closing(open_engine()) as engine:
        for name in (KILLED, mine):
            network = engine.networks.create(f"{name}-cluster", labels={INSTALLATION: name})
            engine.containers.create("busybox:latest", name=f"{name}-0", network=network.name)
        try:
            assert KILLED in sweep()
            names = [each["Names"][0] for each in engine.api.containers(all=True)]
            names += [each["Name"] for each in engine.api.networks()]
            assert {name for name in names if mine in name or KILLED in name} == {f"/{mine}-0", f"{mine}-cluster"}
        finally:
            engine.containers.get(f"{mine}-0").remove()
            engine.networks.get(f"{mine}-cluster").remove()
