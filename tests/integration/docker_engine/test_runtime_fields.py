"""Security, names, sysctls, shared processes, signals, host paths and disks, as processes in containers find them."""

from __future__ import annotations

import tarfile
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from provider.clock import SystemClock
from provider.cloud.backend import LogOptions
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.host_mounts import bind, mount_tmpfs, mounts_below
from provider.cloud.runtime.docker_engine.runtime import DockerSettings
from provider.model.ids import PodUid
from provider.model.request import DnsConfig, SecurityContext
from provider.model.volume import EmptyDirVolume, HostPathVolume, VolumeMount

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aiodocker import Docker

    from provider.cloud.runtime.base import RunSpec, SandboxSpec, SeenContainer
    from provider.cloud.runtime.docker_engine.runtime import DockerRuntime

pytestmark = pytest.mark.integration

UID = PodUid("u-1")
FACTS = "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'; id -u; id -g; ! touch /x 2>&1"


async def test_security(
    runtime: DockerRuntime, sandbox_spec: Callable[..., SandboxSpec], run: Callable[..., Awaitable[str]]
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    tight = SecurityContext(
        user=1000,
        group=2000,
        allow_privilege_escalation=False,
        read_only_root=True,
        cap_drop=("ALL",),
        selinux=("level:s0:c1,c2",),
        apparmor="unconfined",
    )
    said = (await run(FACTS, security=tight)).splitlines()
    assert said == [
        "CapEff:0000000000000000",
        "NoNewPrivs:1",
        "Seccomp:2",
        "1000",
        "2000",
        "touch: /x: Read-only file system",
    ]
    loose = SecurityContext(cap_drop=("ALL",), cap_add=("NET_ADMIN",), seccomp="unconfined")
    said = (await run(FACTS.rpartition(";")[0], name="loose", security=loose)).splitlines()
    assert said == ["CapEff:0000000000001000", "NoNewPrivs:0", "Seccomp:0", "0", "0"]


async def test_a_capability_that_is_none(
    runtime: DockerRuntime, sandbox_spec: Callable[..., SandboxSpec], run_spec: Callable[..., RunSpec]
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    with pytest.raises(RuntimeFault, match="CAP_FLYING") as fault:
        await runtime.start_container(run_spec("true", security=SecurityContext(cap_add=("FLYING",))))
    assert fault.value.kind is FaultKind.CREATE


async def test_apparmor_where_there_is_none(
    runtime: DockerRuntime, sandbox_spec: Callable[..., SandboxSpec], run_spec: Callable[..., RunSpec]
) -> None:
    if runtime._started.host.engine.apparmor:
        pytest.skip("this host has AppArmor")
    await runtime.create_sandbox(sandbox_spec())
    with pytest.raises(RuntimeFault, match="Cannot enforce AppArmor: AppArmor is not enabled on the host") as fault:
        await runtime.start_container(run_spec("true", security=SecurityContext(apparmor="default")))
    assert fault.value.kind is FaultKind.CONFIG


async def test_the_hostname_may_be_the_fqdn_and_sysctls_are_the_sandboxs(
    runtime: DockerRuntime, sandbox_spec: Callable[..., SandboxSpec], run: Callable[..., Awaitable[str]]
) -> None:
    fqdn = "pod." + "s" * 30 + ".default.svc.cluster.example"
    fqdn += "x" * (64 - len(fqdn))
    spec = sandbox_spec(
        domain=fqdn.partition(".")[2],
        kernel_hostname=fqdn,
        sysctls=(("net.ipv4.tcp_syncookies", "0"), ("kernel.shm_rmid_forced", "1")),
        dns=DnsConfig(("10.96.0.10",), leading_searches=("first", "second")),
    )
    await runtime.create_sandbox(spec)
    said = await run(
        "hostname; cat /etc/hostname /proc/sys/net/ipv4/tcp_syncookies /proc/sys/kernel/shm_rmid_forced; "
        "grep -c ' *first second' /etc/resolv.conf; tail -n 1 /etc/hosts"
    )
    assert said.splitlines() == [fqdn, fqdn, "0", "1", "1", f"{spec.address}\t{fqdn}\tpod"]


async def test_a_sysctl_that_the_engine_refuses(
    runtime: DockerRuntime, sandbox_spec: Callable[..., SandboxSpec]
) -> None:
    with pytest.raises(RuntimeFault, match=r"net/ipv4/no_such_thing") as fault:
        await runtime.create_sandbox(sandbox_spec(sysctls=(("net.ipv4.no_such_thing", "0"),)))
    assert fault.value.kind is FaultKind.SANDBOX


async def test_containers_share_their_processes(
    runtime: DockerRuntime,
    sandbox_spec: Callable[..., SandboxSpec],
    shell: Callable[..., RunSpec],
    run: Callable[..., Awaitable[str]],
    ended: Callable[..., Awaitable[SeenContainer]],
) -> None:
    await runtime.create_sandbox(sandbox_spec(share_processes=True))
    # The child outlives its parent's end only if nobody ends it with the container.
    script = "trap 'exit 7' TERM; sleep 4321 & while :; do sleep 0.1; done"
    await runtime.start_container(shell(script, name="other"))
    there = "ps -o args | grep -q '^sleep 4321'"
    said = await run(
        f"cat /proc/1/comm; echo $$; until {there}; do sleep 0.05; done; "
        "kill -TERM $(ps -o pid,args | awk '/[t]rap .exit 7/ {print $1}'); "
        f"while {there}; do sleep 0.05; done"
    )
    first, pid = said.splitlines()
    assert first == "catatonit"  # zonelet/pause:1
    assert int(pid) > 1
    assert (await ended("other")).exit_code == 7


async def test_the_first_signal_is_the_containers_own(
    runtime: DockerRuntime,
    sandbox_spec: Callable[..., SandboxSpec],
    shell: Callable[..., RunSpec],
    ended: Callable[..., Awaitable[SeenContainer]],
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    script = "trap 'exit 3' USR1; echo ready; while :; do sleep 0.05; done"
    await runtime.start_container(shell(script, stop_signal="SIGUSR1"))
    async for data in runtime.logs(UID, "main", 0, LogOptions(follow=True)):
        if b"ready" in data:
            break
    await runtime.stop_container(UID, "main", 0, 30)
    assert (await ended()).exit_code == 3


async def test_host_paths(
    make_runtime: Callable[..., Awaitable[DockerRuntime]],
    sandbox_spec: Callable[..., SandboxSpec],
    shell: Callable[..., RunSpec],
    tmp_path: Path,
) -> None:
    shared = tmp_path / "shared"
    (shared / "deep").mkdir(parents=True)
    (shared / "deep/file").write_text("of the host")
    mount_tmpfs(shared / "deep", 0o755)
    (shared / "deep/file").write_text("of a mount of the host\n")
    (shared / "out").symlink_to("/etc")
    runtime = await make_runtime(settings=DockerSettings(host_paths=(str(shared),)))
    volumes = (
        HostPathVolume("all", str(shared), "Directory"),
        HostPathVolume("file", f"{shared}/deep/file", "File"),
        HostPathVolume("new", f"{shared}/made", "DirectoryOrCreate"),
        HostPathVolume("out", f"{shared}/out/x"),
    )
    await runtime.create_sandbox(sandbox_spec(volumes=volumes[:3]))
    mounts = (
        VolumeMount("all", "/all"),
        VolumeMount("all", "/sub", sub_path="deep"),
        VolumeMount("file", "/file", read_only=True),
        VolumeMount("new", "/new"),
    )
    await runtime.start_container(
        shell("cat /all/deep/file /sub/file /file; ! echo x > /file; echo back > /new/b; sleep 600", mounts=mounts)
    )
    said = ""
    async for data in runtime.logs(UID, "main", 0, LogOptions(follow=True)):
        said += data.decode()
        if "Read-only" in said and said.count("of a mount of the host") == 3:
            break
    while not (shared / "made/b").exists():
        await SystemClock().sleep(0.05)
    assert mounts_below(tmp_path / "instances") == []
    assert mounts_below(shared) == [shared / "deep"]
    with pytest.raises(RuntimeFault, match="leads out of the volume") as fault:
        await runtime.create_sandbox(sandbox_spec(uid="u-2", host=10, volumes=volumes[3:]))
    assert fault.value.kind is FaultKind.MOUNT
    left = tmp_path / "instances/u-1/subpaths/left"  # by a provider that was killed while a container started
    left.mkdir()
    bind(str(shared), left, recursive=True)
    await runtime.remove_instance(UID)
    assert not (tmp_path / "instances/u-1").exists()
    assert mounts_below(shared) == [shared / "deep"]
    assert (shared / "deep/file").read_text() == "of a mount of the host\n"
    assert (shared / "made/b").read_text() == "back\n"


async def test_the_disk_that_an_instance_uses(
    runtime: DockerRuntime, sandbox_spec: Callable[..., SandboxSpec], shell: Callable[..., RunSpec]
) -> None:
    assert await runtime.disk_use(UID) is None
    volumes = (EmptyDirVolume("disk"), EmptyDirVolume("ram", memory=True))
    await runtime.create_sandbox(sandbox_spec(volumes=volumes))
    script = (
        "for file in /disk/f /ram/f /root-f; do dd if=/dev/urandom of=$file bs=1M count=3; done 2> /dev/null; "
        "head -c 2000000 /dev/urandom | od; sync; echo written; sleep 600"
    )
    mounts = (VolumeMount("disk", "/disk"), VolumeMount("ram", "/ram"))
    await runtime.start_container(shell(script, mounts=mounts))
    async for data in runtime.logs(UID, "main", 0, LogOptions(follow=True)):
        if b"written" in data:
            break
    use = await runtime.disk_use(UID)
    assert use is not None
    ((name, volume),) = use.volumes
    ((container, written),) = use.containers
    assert (name, container) == ("disk", "main")
    assert 3 * 2**20 <= volume < 4 * 2**20
    assert written > 3 * 2**20 + 4_000_000  # the layer, and what od said in the log
    assert volume + written <= use.total < volume + written + 2**20


def dockerfile(text: str) -> BytesIO:
    """A build's context of this file alone."""
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        archive.addfile(entry, BytesIO(text.encode()))
    packed.seek(0)
    return packed


async def test_the_first_signal_is_otherwise_the_images(
    client: Docker,
    runtime: DockerRuntime,
    installation: str,
    sandbox_spec: Callable[..., SandboxSpec],
    shell: Callable[..., RunSpec],
    ended: Callable[..., Awaitable[SeenContainer]],
) -> None:
    await client.images.build(
        fileobj=dockerfile("FROM busybox:latest\nSTOPSIGNAL SIGUSR2\n"), encoding="gzip", tag=f"{installation}:stop"
    )
    try:
        await runtime.create_sandbox(sandbox_spec())
        script = "trap 'exit 4' USR2; echo ready; while :; do sleep 0.05; done"
        spec = shell(script)
        await runtime.start_container(
            replace(spec, container=replace(spec.container, image=f"{installation}:stop"), image_id="")
        )
        async for data in runtime.logs(UID, "main", 0, LogOptions(follow=True)):
            if b"ready" in data:
                break
        await runtime.stop_container(UID, "main", 0, 30)
        assert (await ended()).exit_code == 4
        await runtime.remove_instance(UID)
    finally:
        await client.images.delete(f"{installation}:stop")
