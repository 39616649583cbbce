"""What the engine is asked for."""

from typing import Any

import pytest

from provider.cloud.runtime.base import RunSpec
from provider.cloud.runtime.docker_engine.container_config import Bind, container_config, mac_address
from provider.model.ids import PodUid, ZoneId
from provider.model.request import ContainerSpec, SecurityContext


def body(binds: tuple[Bind, ...] = (), image_user: str = "", **container: Any) -> dict[str, Any]:
    spec = RunSpec(
        uid=PodUid("u-1"),
        zone=ZoneId("zone-a"),
        attempt=0,
        container=ContainerSpec(name="main", image="busybox", **container),
        env=(("A", "1"), ("B", "x=y")),
        image_id="sha256:1",
    )
    return container_config("zl", spec, "zl-sandbox_u-1", binds, "/zonelet/zl/zone-a/u-1", image_user)


def test_it_joins_the_sandbox_and_uses_exactly_the_image_found() -> None:
    asked = body(binds=(Bind("/s", "/t", read_only=True),))
    assert asked["Image"] == "sha256:1"
    assert asked["Env"] == ["A=1", "B=x=y"]
    host = asked["HostConfig"]
    assert host["NetworkMode"] == host["IpcMode"] == "container:zl-sandbox_u-1"
    assert host["CgroupParent"] == "/zonelet/zl/zone-a/u-1"
    assert host["Mounts"] == [{"Type": "bind", "Source": "/s", "Target": "/t", "ReadOnly": True}]


def test_command_and_args_replace_only_what_is_given() -> None:
    assert not {"Entrypoint", "Cmd"} & set(body())
    assert body(command=("a",), args=("b",)).items() >= {"Entrypoint": ["a"], "Cmd": ["b"]}.items()


@pytest.mark.parametrize(
    ("user", "group", "image_user", "expected"),
    [
        (None, None, "app", ""),
        (7, None, "app", "7"),
        (7, 8, "app", "7:8"),
        (None, 8, "app:app", "app:8"),
        (None, 8, "", "0:8"),
        (0, 0, "app", "0:0"),
    ],
)
def test_user(user: int | None, group: int | None, image_user: str, expected: str) -> None:
    asked = body(image_user=image_user, security=SecurityContext(user=user, group=group))
    assert asked["User"] == expected


def test_resources() -> None:
    host = body(cpu_request=500, cpu_limit=64_000, memory_limit=2**30)["HostConfig"]
    assert (host["CpuShares"], host["CpuPeriod"], host["CpuQuota"]) == (512, 100_000, 6_400_000)
    assert host["Memory"] == host["MemorySwap"] == 2**30
    unlimited = body()["HostConfig"]
    assert unlimited["CpuShares"] == 2
    assert not {"CpuQuota", "Memory"} & set(unlimited)


def test_security() -> None:
    security = SecurityContext(
        allow_privilege_escalation=False, seccomp="unconfined", cap_add=("NET_ADMIN",), supplemental_groups=(5,)
    )
    host = body(security=security)["HostConfig"]
    assert host["SecurityOpt"] == ["no-new-privileges", "seccomp=unconfined"]
    assert (host["CapAdd"], host["GroupAdd"], host["Privileged"]) == (["NET_ADMIN"], ["5"], False)


def test_profiles_and_labels() -> None:
    host = body(security=SecurityContext(apparmor="unconfined", selinux=("type:t", "level:s0")))["HostConfig"]
    assert host["SecurityOpt"] == ["apparmor=unconfined", "label=type:t", "label=level:s0"]
    assert body(security=SecurityContext(apparmor="default"))["HostConfig"]["SecurityOpt"] == []


def test_the_mac_follows_the_address() -> None:
    assert mac_address("10.1.0.254") == "02:42:0a:01:00:fe"
