"""What a pod's fields promise, seen from inside its containers on a real cluster and engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.argo import Terminal
from tests.support.engine import objects_on_engine
from tests.support.installation import Lab, installed
from tests.support.names import own_name
from tests.support.pods import CLOCK, PODS, event_that, is_running, phase_is, pod_gone, pod_that, shell_pod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from provider.kube.client import HttpKubeApi

MAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The host's directory that pods may mount."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def lab(shared: Path) -> Iterator[Lab]:
    """An installation of its own: what these pods may do, nobody else's may."""
    name = own_name("pods")
    zone = {"name": "zone-a", "vSwitches": [{"cidr": "10.216.0.0/24"}]}
    with installed(
        name, argo=False, config={"zones": [zone], "pods": {"hostPath": {"allowedPaths": [str(shared)]}}}
    ) as made:
        yield made
    assert objects_on_engine(name) == ([], [])


@pytest.fixture(scope="module")
def terminal(lab: Lab) -> Terminal:
    return Terminal(lab)


@pytest.fixture
async def api(lab: Lab) -> AsyncIterator[HttpKubeApi]:
    async with lab.api() as client:
        yield client


def mounted(*volumes: dict[str, Any], sub_path: str = "") -> dict[str, Any]:
    """The container's part and the pod's part of volumes, each at /<its name>."""
    mounts = [{"name": one["name"], "mountPath": f"/{one['name']}"} for one in volumes]
    if sub_path:
        mounts.append({"name": volumes[0]["name"], "mountPath": "/fixed", "subPath": sub_path})
    return {"container": {"volumeMounts": mounts}, "volumes": list(volumes)}


async def inside(terminal: Terminal, name: str, script: str) -> str:
    return (await terminal.kubectl("exec", name, "-c", "main", "--", "sh", "-c", script)).text


async def soon(terminal: Terminal, name: str, script: str, wanted: str) -> None:
    """Wait until a script inside the pod says what is wanted."""
    deadline = CLOCK.now() + 30
    while (said := await inside(terminal, name, script)) != wanted:
        assert CLOCK.now() < deadline, said
        await CLOCK.sleep(0.3)


async def test_volumes_follow_their_objects(terminal: Terminal, api: HttpKubeApi) -> None:
    await api.create(MAPS, {"metadata": {"name": "live"}, "data": {"k": "1"}})
    await api.create(SECRETS, {"metadata": {"name": "live"}, "stringData": {"s": "1"}})
    volumes = mounted(
        {"name": "map", "configMap": {"name": "live"}},
        {"name": "both", "projected": {"sources": [{"secret": {"name": "live"}}, {"configMap": {"name": "live"}}]}},
        {"name": "later", "configMap": {"name": "later", "optional": True}},
        {
            "name": "own",
            "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]},
        },
        sub_path="k",
    )
    await api.create(PODS, shell_pod("live", FOREVER, **volumes))
    await pod_that(api, "live", is_running)
    assert await inside(terminal, "live", "readlink /map/k; cat /map/k /both/s; ls /later") == "..data/k\n11"
    await CLOCK.sleep(4)  # the watches begin with a pod that lasts
    await api.patch(f"{MAPS}/live", {"data": {"k": "2"}}, "merge")
    await api.patch(f"{SECRETS}/live", {"stringData": {"s": "3"}}, "merge")
    await api.create(MAPS, {"metadata": {"name": "later"}, "data": {"l": "4"}})
    await api.patch(f"{PODS}/live", {"metadata": {"labels": {"colour": "blue"}}}, "merge")
    await soon(terminal, "live", "cat /map/k /both/k /both/s /later/l; grep colour /own/labels", '2234colour="blue"')
    assert await inside(terminal, "live", "cat /fixed") == "1"  # a subPath stays what it was
    await api.delete(f"{PODS}/live")
    await pod_gone(api, "live")
    for path in (f"{MAPS}/live", f"{MAPS}/later", f"{SECRETS}/live"):
        await api.delete(path)


async def test_a_pod_is_named_resolved_and_secured_as_it_says(terminal: Terminal, api: HttpKubeApi) -> None:
    facts = "hostname; tail -n 4 /etc/hosts; cat /etc/resolv.conf /proc/sys/net/ipv4/tcp_syncookies; id -u; id -G"
    pod = shell_pod(
        "named",
        f"{FOREVER}",
        hostname="h",
        subdomain="s",
        setHostnameAsFQDN=True,
        shareProcessNamespace=True,
        hostAliases=[{"ip": "10.9.9.9", "hostnames": ["a", "b"]}],
        dnsPolicy="None",
        dnsConfig={
            "nameservers": ["10.8.8.8"],
            "searches": ["x.example"],
            "options": [{"name": "ndots", "value": "2"}],
        },
        securityContext={
            "runAsUser": 1000,
            "runAsGroup": 2000,
            "fsGroup": 3000,
            "supplementalGroups": [4000],
            "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "0"}],
        },
    )
    await api.create(PODS, pod)
    status = (await pod_that(api, "named", is_running))["status"]
    assert (await inside(terminal, "named", facts)).splitlines() == [
        "h.s.default.svc.cluster.local",
        f"{status['podIP']}\th.s.default.svc.cluster.local\th",
        "",
        "# Entries added by HostAliases.",
        "10.9.9.9\ta\tb",
        "search x.example",
        "nameserver 10.8.8.8",
        "options ndots:2",
        "0",
        "1000",
        "2000 3000 4000",
    ]
    assert await inside(terminal, "named", "cat /proc/1/comm") == "catatonit"
    await api.delete(f"{PODS}/named")
    await pod_gone(api, "named")


@pytest.mark.parametrize(
    ("name", "spec", "reason", "message"),
    [
        (
            "unsafe",
            {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
            "SysctlForbidden",
            'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted',
        ),
        (
            "elsewhere",
            mounted({"name": "host", "hostPath": {"path": "/etc"}}),
            "UnsupportedPodSpec",
            "spec.volumes[0].hostPath: /etc is not below a path that pods of this node may mount",
        ),
    ],
)
async def test_what_a_pod_may_not(api: HttpKubeApi, name: str, spec: dict[str, Any], reason: str, message: str) -> None:
    await api.create(PODS, shell_pod(name, FOREVER, **spec))
    status = (await pod_that(api, name, phase_is("Failed")))["status"]
    assert status["reason"] == reason
    assert message in status["message"]
    await api.delete(f"{PODS}/{name}")
    await pod_gone(api, name)


async def test_a_path_of_the_host(terminal: Terminal, api: HttpKubeApi, shared: Path) -> None:
    (shared / "there").mkdir()
    volumes = mounted(
        {"name": "there", "hostPath": {"path": f"{shared}/there", "type": "Directory"}},
        {"name": "made", "hostPath": {"path": f"{shared}/made", "type": "DirectoryOrCreate"}},
    )
    await api.create(PODS, shell_pod("host", f"echo x > /there/x; echo y > /made/y; {FOREVER}", **volumes))
    await pod_that(api, "host", is_running)
    await soon(terminal, "host", "cat /there/x /made/y", "x\ny")
    assert ((shared / "there/x").read_text(), (shared / "made/y").read_text()) == ("x\n", "y\n")
    waits = mounted({"name": "none", "hostPath": {"path": f"{shared}/none", "type": "Directory"}})
    await api.create(PODS, shell_pod("waits", FOREVER, **waits))
    event = await event_that(api, "waits", "FailedMount")
    assert event["message"] == (
        f'MountVolume.SetUp failed for volume "none" : hostPath type check failed, {shared}/none is not a directory, '
        f'unable to determine its type: path "{shared}/none" does not exist'
    )
    (shared / "none").mkdir()
    await pod_that(api, "waits", is_running)
    for name in ("host", "waits"):
        await api.delete(f"{PODS}/{name}")
        await pod_gone(api, name)
    assert (shared / "there/x").read_text() == "x\n"


async def test_who_fills_the_disk_is_evicted(api: HttpKubeApi) -> None:
    volumes = mounted({"name": "small", "emptyDir": {"sizeLimit": "1Mi"}})
    fill = f"dd if=/dev/zero of=/small/f bs=1M count=3; {FOREVER}"
    await api.create(PODS, shell_pod("full", fill, **volumes))
    limits = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    fill = f"dd if=/dev/zero of=/f bs=1M count=3; {FOREVER}"
    await api.create(PODS, shell_pod("layer", fill, container=limits))
    status = (await pod_that(api, "full", phase_is("Failed")))["status"]
    assert (status["reason"], status["message"]) == (
        "Evicted",
        'Usage of EmptyDir volume "small" exceeds the limit "1Mi". ',
    )
    event = await event_that(api, "full", "Evicted")
    assert (event["type"], event["message"].strip()) == ("Warning", status["message"].strip())
    status = (await pod_that(api, "layer", phase_is("Failed")))["status"]
    assert status["message"] == "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "
    for name in ("full", "layer"):
        await api.delete(f"{PODS}/{name}")
        await pod_gone(api, name)


async def test_a_cluster_without_dns_is_told(api: HttpKubeApi) -> None:
    pod = await api.create(PODS, shell_pod("dns", FOREVER))
    event = await event_that(api, "dns", "MissingClusterDNS")
    assert event["message"].startswith(
        f'pod: "dns_default({pod["metadata"]["uid"]})". kubelet does not have ClusterDNS'
    )
    await pod_that(api, "dns", is_running)
    await api.delete(f"{PODS}/dns")
    await pod_gone(api, "dns")
