"""Which images are made again, and the archive that the engine gets."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from provider.cluster.image_archive import HASH_LABEL, FinishedImage, archive
from provider.cluster.image_catalog import Image
from provider.cluster.image_layers import BuiltLayer
from provider.cluster.images import _compare, ensure_images, missing_images

if TYPE_CHECKING:
    from pathlib import Path

ALPINE = Image(names=["alpine", "alpine:3.6"], layers=["base"])


@pytest.mark.parametrize(
    ("present", "made", "current", "foreign"),
    [
        ({}, ["alpine:latest", "alpine:3.6"], [], []),
        ({"alpine:latest": "h1", "alpine:3.6": "h1"}, [], ["alpine:latest", "alpine:3.6"], []),
        ({"alpine:latest": "h0", "alpine:3.6": "h1"}, ["alpine:latest", "alpine:3.6"], [], []),
        ({"alpine:latest": "", "alpine:3.6": "h1"}, [], ["alpine:3.6"], ["alpine:latest"]),
        ({"alpine:latest": ""}, ["alpine:3.6"], [], ["alpine:latest"]),
        ({"alpine:latest": "", "alpine:3.6": ""}, [], [], ["alpine:3.6", "alpine:latest"]),
    ],
)
def test_only_what_differs_is_made_and_what_is_not_ours_stays(
    present: dict[str, str], made: list[str], current: list[str], foreign: list[str]
) -> None:
    stale, report = _compare({"h1": ALPINE}, present)
    assert (report.made, report.current, report.foreign) == (made, current, foreign)
    assert [image.names for image in stale.values()] == ([made] if made else [])


@pytest.fixture
def layers(tmp_path: Path) -> dict[str, BuiltLayer]:
    built = {}
    for name, size in (("base", 512), ("tools", 1000)):
        path = tmp_path / f"{name}.tar"
        path.write_bytes(b"x" * size)
        built[name] = BuiltLayer(path, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    return built


def test_the_archive_holds_shared_layers_once(layers: dict[str, BuiltLayer]) -> None:
    first = Image(names=["a"], layers=["base"], cmd=["/bin/sh"], user="8737", workdir="/home/argo")
    second = Image(names=["b", "b:1"], layers=["base", "tools"], entrypoint=["/bin/x"])
    finished = [
        FinishedImage(first, "h1", [layers["base"]]),
        FinishedImage(second, "h2", [layers["base"], layers["tools"]]),
    ]
    stream = io.BytesIO(b"".join(archive(finished, "amd64")))
    with tarfile.open(fileobj=stream) as tar:
        members = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    manifest = json.loads(members.pop("manifest.json"))
    assert [image["RepoTags"] for image in manifest] == [["a:latest"], ["b:latest", "b:1"]]
    assert len(members) == 4
    configs = [json.loads(members[image["Config"]]) for image in manifest]
    assert [image["Config"] for image in manifest] == [
        f"{hashlib.sha256(members[image['Config']]).hexdigest()}.json" for image in manifest
    ]
    for image, config in zip(manifest, configs, strict=True):
        digests = [f"sha256:{hashlib.sha256(members[name]).hexdigest()}" for name in image["Layers"]]
        assert config["rootfs"]["diff_ids"] == digests
    assert configs[0]["config"]["User"] == "8737"
    assert configs[0]["config"]["Labels"] == {HASH_LABEL: "h1"}
    assert configs[0]["config"]["Env"][0].startswith("PATH=")
    assert configs[1]["config"]["Entrypoint"] == ["/bin/x"]


@pytest.mark.integration
def test_the_engine_has_the_images_and_a_second_run_makes_none() -> None:
    import docker

    from provider.cluster.build import build_all, cache_root

    client = docker.from_env(timeout=300)
    said: list[str] = []
    binaries = build_all(cache_root(), said.append)
    ensure_images(client, binaries, cache_root(), said.append)
    again = ensure_images(client, binaries, cache_root(), said.append)
    assert again.made == []
    assert missing_images(client) == []
    client.close()


@pytest.mark.integration
def test_stand_ins_run_what_the_examples_call() -> None:
    import docker

    client = docker.from_env(timeout=300)
    commands = {
        "busybox": ["echo", "hello"],
        "alpine:3.7": ["sh", "-c", "apk add curl >/dev/null && curl --version >/dev/null && echo hello"],
        "debian:9.4": ["bash", "-c", "echo hello | awk '{print $1}'"],
        "python:alpine3.6": ["python", "-c", "import json, random, ssl; print('hello')"],
        "argoproj/argosay:v2": ["echo", "hello"],
    }
    for name, command in commands.items():
        output = client.containers.run(name, command, remove=True, network_mode="none")
        assert output == b"hello\n", name
    client.close()


@pytest.mark.integration
def test_pause_ends_at_once_when_it_is_told_to() -> None:
    import docker

    client = docker.from_env(timeout=60)
    container = client.containers.run("zonelet/pause:1", detach=True, network_mode="none")
    try:
        container.kill("SIGTERM")
        assert container.wait(timeout=5)["StatusCode"] == 0
    finally:
        container.remove(force=True)
        client.close()
