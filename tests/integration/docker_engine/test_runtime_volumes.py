"""What containers see of their instance's volumes and /etc files."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from provider.cloud.backend import LogOptions
from provider.cloud.runtime.base import FaultKind, RunSpec, RuntimeFault, SandboxSpec
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.model.ids import PodUid
from provider.model.request import DnsConfig, HostAlias, SecurityContext
from provider.model.volume import EmptyDirVolume, FileEntry, FilesVolume, VolumeMount

pytestmark = pytest.mark.integration

UID = PodUid("u-1")
Specs = Callable[..., RunSpec]
Sandboxes = Callable[..., SandboxSpec]
Run = Callable[..., Awaitable[str]]


async def test_etc_files_and_shared_namespaces(runtime: DockerRuntime, sandbox_spec: Sandboxes, run: Run) -> None:
    spec = sandbox_spec(
        domain="sub.default.svc.cluster.local",
        host_aliases=(HostAlias("10.9.9.9", ("alias",)),),
        dns=DnsConfig(nameservers=("10.96.0.10",), searches=("svc.cluster.local",), options=("ndots:5",)),
    )
    await runtime.create_sandbox(spec)
    said = await run("hostname; cat /etc/hostname /etc/resolv.conf; grep pod /etc/hosts; grep alias /etc/hosts")
    assert said.splitlines() == [
        "pod",
        "pod",
        "search svc.cluster.local",
        "nameserver 10.96.0.10",
        "options ndots:5",
        f"{spec.address}\tpod.sub.default.svc.cluster.local\tpod",
        "10.9.9.9\talias",
    ]
    assert await run("echo more >> /etc/hosts; echo x > /dev/shm/x", attempt=1) == ""
    assert await run("tail -n 1 /etc/hosts; cat /dev/shm/x", name="other") == "more\nx\n"
    assert await run(
        "cat /etc/hosts; ! echo x >> /etc/hosts", name="tight", security=SecurityContext(read_only_root=True)
    )


async def test_an_own_mount_comes_before_ours(runtime: DockerRuntime, sandbox_spec: Sandboxes, run: Run) -> None:
    await runtime.create_sandbox(sandbox_spec(volumes=(FilesVolume("etc", (FileEntry("hosts", b"mine\n"),)),)))
    mounts = (VolumeMount("etc", "etc/hosts", sub_path="hosts"),)
    assert await run("cat /etc/hosts", mounts=mounts) == "mine\n"


async def test_empty_directories_outlive_containers_and_are_shared(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, run: Run, tmp_path: Path
) -> None:
    volumes = (EmptyDirVolume("disk"), EmptyDirVolume("ram", memory=True, size_limit=2**20))
    await runtime.create_sandbox(sandbox_spec(volumes=volumes, memory=2**28))
    mounts = (VolumeMount("disk", "/disk"), VolumeMount("ram", "/ram"))
    said = await run(
        "stat -c %a:%u:%g /disk /ram; df -k /ram | tail -n 1 | awk '{print $2}'; echo d > /disk/x; echo r > /ram/x",
        mounts=mounts,
    )
    assert said.split() == ["777:0:0", "777:0:0", "1024"]
    nobody = SecurityContext(user=65534, group=65534)
    said = await run(
        "cat /disk/x /ram/x; touch /ram/mine; ! dd if=/dev/zero of=/ram/big bs=64k count=32",
        name="next",
        mounts=mounts,
        security=nobody,
    )
    assert {"d", "r"} <= set(said.splitlines())
    assert "No space left on device" in said
    read_only = tuple(VolumeMount(one.volume, one.path, read_only=True) for one in mounts)
    assert "Read-only" in await run("! touch /disk/y; ! touch /ram/y", name="reader", mounts=read_only)
    assert mounts_below(tmp_path) == [tmp_path / "instances/u-1/volumes/ram"]


async def test_memory_volumes_are_no_bigger_than_the_instance(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, run: Run
) -> None:
    volumes = (EmptyDirVolume("a", memory=True), EmptyDirVolume("b", memory=True, size_limit=2**40))
    await runtime.create_sandbox(sandbox_spec(volumes=volumes, memory=2**25))
    mounts = (VolumeMount("a", "/a"), VolumeMount("b", "/b"))
    assert (await run("df -k /a /b | awk 'NR > 1 {print $2}'", mounts=mounts)).split() == ["32768", "32768"]


async def test_fs_group(runtime: DockerRuntime, sandbox_spec: Sandboxes, run: Run) -> None:
    volumes = (
        EmptyDirVolume("disk"),
        EmptyDirVolume("ram", memory=True),
        FilesVolume("cfg", (FileEntry("key", b"secret", 0o400),)),
    )
    await runtime.create_sandbox(sandbox_spec(volumes=volumes, fs_group=4321))
    mounts = (VolumeMount("disk", "/disk"), VolumeMount("ram", "/ram"), VolumeMount("cfg", "/cfg"))
    said = await run(
        "id -G; stat -c %a:%g /disk /ram; cat /cfg/key; echo; stat -L -c %a:%g /cfg/key; touch /disk/f; stat -c %g /disk/f",
        mounts=mounts,
        security=SecurityContext(user=1000, group=1000, supplemental_groups=(7,)),
    )
    assert said.split("\n") == ["1000 7 4321", "2777:4321", "2777:4321", "secret", "440:4321", "4321", ""]


async def test_files_are_replaced_under_a_running_container(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, tmp_path: Path
) -> None:
    await runtime.create_sandbox(sandbox_spec(volumes=(FilesVolume("cfg", (FileEntry("a", b"old\n"),)),)))
    script = "cat /cfg/a; while ! grep -q new /cfg/a; do sleep 0.05; done; cat /cfg/a; touch /cfg/x; cat /fixed"
    mounts = (VolumeMount("cfg", "/cfg"), VolumeMount("cfg", "/fixed", sub_path="a"))
    await runtime.start_container(shell(script, mounts=mounts))
    said = b""
    async for data in runtime.logs(UID, "main", 0, LogOptions(follow=True)):
        if not said:
            await runtime.write_files(UID, "cfg", [FileEntry("a", b"new\n")])
        said += data
    lines = said.decode().splitlines()
    assert "touch: /cfg/x: Read-only file system" in lines
    assert [line for line in lines if not line.startswith("touch")] == ["old", "new", "old"], "a subPath is not renewed"
    folder = tmp_path / "instances/u-1"
    assert b"old" not in (folder / "instance.json").read_bytes(), "what may be secret is on no disk"
    assert mounts_below(folder) == [folder / "files"]
    await runtime.release_sandbox(UID)
    await runtime.write_files(UID, "cfg", [FileEntry("a", b"late")])
    assert not (folder / "files").exists()


async def test_a_configmap_can_hold_a_program(runtime: DockerRuntime, sandbox_spec: Sandboxes, run: Run) -> None:
    volume = FilesVolume("bin", (FileEntry("hello", b"#!/bin/sh\necho hello\n", 0o755),))
    await runtime.create_sandbox(sandbox_spec(volumes=(volume,)))
    assert await run("/bin-volume/hello", mounts=(VolumeMount("bin", "/bin-volume"),)) == "hello\n"


async def test_sub_paths(runtime: DockerRuntime, sandbox_spec: Sandboxes, run: Run, tmp_path: Path) -> None:
    await runtime.create_sandbox(sandbox_spec(volumes=(EmptyDirVolume("disk"),), fs_group=9))
    mounts = (VolumeMount("disk", "/data", sub_path="a/b"),)
    assert await run("stat -c %a:%g /data; echo x > /data/f", mounts=mounts) == "2777:9\n"
    assert await run("cat /disk/a/b/f", name="whole", mounts=(VolumeMount("disk", "/disk"),)) == "x\n"
    assert mounts_below(tmp_path) == [], "the places that subPaths were mounted to are gone"


@pytest.mark.parametrize("target", ["/etc", "../../../..", "/proc/1/root"])
async def test_a_sub_path_does_not_leave_the_volume(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, run: Run, tmp_path: Path, target: str
) -> None:
    await runtime.create_sandbox(sandbox_spec(volumes=(EmptyDirVolume("disk"),)))
    await run(f"ln -s {target} /disk/out", name="evil", mounts=(VolumeMount("disk", "/disk"),))
    mounts = (VolumeMount("disk", "/fine", sub_path="fine"), VolumeMount("disk", "/data", sub_path="out/x"))
    with pytest.raises(RuntimeFault, match='failed to prepare subPath for volumeMount "disk"') as caught:
        await runtime.start_container(shell("true", mounts=mounts))
    assert caught.value.kind is FaultKind.CONFIG
    assert str(tmp_path) not in caught.value.message
    assert mounts_below(tmp_path) == []


async def test_a_volume_that_is_not_there(runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs) -> None:
    await runtime.create_sandbox(sandbox_spec())
    with pytest.raises(RuntimeFault, match='cannot find volume "v" to mount into container "main"') as caught:
        await runtime.start_container(shell("true", mounts=(VolumeMount("v", "/v"),)))
    assert caught.value.kind is FaultKind.CONFIG


async def test_a_file_outside_of_its_volume(runtime: DockerRuntime, sandbox_spec: Sandboxes) -> None:
    volume = FilesVolume("cfg", (FileEntry("../x", b""),))
    with pytest.raises(RuntimeFault, match="not a path inside a volume") as caught:
        await runtime.create_sandbox(sandbox_spec(volumes=(volume,)))
    assert caught.value.kind is FaultKind.MOUNT
