"""The provider's image: the Dockerfile builds, the command runs in it, and nothing is in it that it does not need."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from provider.cluster.build import cache_root
from provider.cluster.engine import open_engine
from provider.cluster.provider_image import PROVIDER_IMAGE, ensure_provider_image
from tests.support.names import own_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from docker import DockerClient

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

GREATEST_BYTES = 200 << 20


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerClient]:
    with closing(open_engine()) as client:
        ensure_provider_image(client, cache_root(), print)
        yield client


def run(engine: DockerClient, *argv: str, entrypoint: str | None = None, config: Path | None = None) -> tuple[int, str]:
    """Run a container to its end; return exit code and output."""
    volumes = {} if config is None else {str(config): {"bind": "/config", "mode": "ro"}}
    made = engine.containers.create(
        PROVIDER_IMAGE,
        list(argv) or None,
        name=own_name("image"),
        entrypoint=entrypoint,
        volumes=volumes,
        network_mode="none",
    )
    try:
        made.start()
        code = int(made.wait(timeout=60)["StatusCode"])
        return code, made.logs().decode()
    finally:
        made.remove(force=True, v=True)


def test_nothing_is_built_when_nothing_changed(engine: DockerClient) -> None:
    assert not ensure_provider_image(engine, cache_root(), print)


def test_the_command_helps(engine: DockerClient) -> None:
    code, said = run(engine, "--help")
    assert code == 0
    assert {"up", "down", "run", "status", "doctor"} <= set(said.split())


def test_without_arguments_it_is_the_provider_which_says_what_it_lacks(engine: DockerClient) -> None:
    code, said = run(engine)
    assert code == 1
    assert "pass --kubeconfig, set KUBECONFIG" in said


def test_a_configuration_with_mistakes_is_refused_with_each_of_them(engine: DockerClient, tmp_path: Path) -> None:
    (tmp_path / "provider.yaml").write_text("zones: [{name: zone-a, color: red}]\nnode: {kubeletPort: x}\n")
    code, said = run(engine, "run", "--config", "/config/provider.yaml", config=tmp_path)
    assert code == 2
    assert "zones[0].color: unknown key" in said
    assert "node.kubeletPort" in said


def test_the_manifests_come_along(engine: DockerClient) -> None:
    program = "from provider.cluster.build import local_sources as s; print((s().parent/'kustomize'/'base').is_dir())"
    assert run(engine, "-c", program, entrypoint="python3") == (0, "True\n")


def test_it_is_small_and_holds_no_cache(engine: DockerClient) -> None:
    assert engine.images.get(PROVIDER_IMAGE).attrs["Size"] < GREATEST_BYTES
    look = "ls /tools /wheels /source /built /root/.cache /opt/zonelet/bin/pip 2>/dev/null; find / -xdev -name '*.whl' -path '*/wheels/*'"
    assert run(engine, "-c", look, entrypoint="/bin/sh") == (0, "")
