"""What an installation has on the Docker engine, as the engine itself tells it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.labels import INSTALLATION, PREFIX
from provider.cluster.engine import open_engine

if TYPE_CHECKING:
    from tests.support.installation import Lab


def objects_on_engine(installation: str) -> tuple[list[str], list[str]]:
    """Return the containers and the networks that carry the installation's label, by name."""
    mine = {"label": f"{INSTALLATION}={installation}"}
    with closing(open_engine()) as engine:
        containers = [str(each["Names"][0]) for each in engine.api.containers(all=True, filters=mine)]
        return sorted(containers), sorted(str(each["Name"]) for each in engine.api.networks(filters=mine))


def instances_on_engine(lab: Lab) -> set[str]:
    """Return the UIDs of the pods that have a container, running or not."""
    mine = {"label": [f"{INSTALLATION}={lab.installation.name}", f"{PREFIX}uid"]}
    with closing(open_engine()) as engine:
        return {str(each["Labels"][f"{PREFIX}uid"]) for each in engine.api.containers(all=True, filters=mine)}
