"""kubectl against pods of virtual nodes: logs, exec, deletion, the network between zones, nodes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from provider.cluster.manifests import wait_for
from provider.cluster.provider_daemon import is_ready
from tests.support.argo import ended
from tests.support.pods import CLOCK, PODS, is_running, pod_gone, pod_that, restarts, shell_pod

if TYPE_CHECKING:
    from provider.kube.client import HttpKubeApi, Json
    from tests.support.argo import Terminal

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
NODES = "/api/v1/nodes"


async def run_pod(api: HttpKubeApi, name: str, script: str = FOREVER, **options: Any) -> Json:
    await api.create(PODS, shell_pod(name, script, **options))
    return await pod_that(api, name, is_running)


async def remove_pod(api: HttpKubeApi, *names: str) -> None:
    for name in names:
        await api.delete(f"{PODS}/{name}")
    for name in names:
        await pod_gone(api, name)


async def test_logs_with_every_option(terminal: Terminal, api: HttpKubeApi) -> None:
    init = {"name": "first", "image": "busybox:1.36", "command": ["sh", "-c", "echo from the init container"]}
    await run_pod(api, "speaks", f"echo one; echo two; echo three >&2; {FOREVER}", initContainers=[init])

    async def logs(*options: str) -> str:
        return (await terminal.kubectl("logs", "speaks", *options)).out.decode()

    # `running` is told a moment before the program has written its lines.
    async with asyncio.timeout(20):
        while (await logs("-c", "main")).count("\n") < 3:
            await CLOCK.sleep(0.1)
    assert await logs("-c", "first") == "from the init container\n"
    assert sorted((await logs("-c", "main")).splitlines()) == ["one", "three", "two"]  # two pipes: no order across
    assert await logs("-c", "main", "--tail=0") == ""
    assert (await logs("-c", "main", "--tail=1")).count("\n") == 1
    assert await logs("-c", "main", "--since=1h", "--limit-bytes=3") in ("one", "thr")
    assert await logs("-c", "main", "--since-time=2099-01-01T00:00:00Z") == ""
    stamped = (await logs("-c", "main", "--timestamps")).splitlines()
    assert all(each[:4].isdigit() and each.split(" ")[0].endswith("Z") for each in stamped)

    following = await terminal.start("kubectl", "logs", "-f", "speaks", "-c", "main", "--tail=0")
    try:
        assert following.stdout
        async with asyncio.timeout(30):
            # Said again and again, for what is said before kubectl follows does not count.
            say = "while :; do echo spoken later > /proc/1/fd/1; sleep 0.2; done"
            speaking = await terminal.start("kubectl", "exec", "speaks", "-c", "main", "--", "sh", "-c", say)
            assert await following.stdout.readline() == b"spoken later\n"
            await ended(speaking)
            await api.delete(f"{PODS}/speaks")
            while await following.stdout.readline():
                pass
            assert await following.wait() == 0  # the end of the container is the end of the stream
    finally:
        await ended(following)
    await pod_gone(api, "speaks")


async def test_logs_of_the_attempt_before(terminal: Terminal, api: HttpKubeApi) -> None:
    script = f"test -e /seen/it && echo second && {{ {FOREVER}; }}; touch /seen/it; echo first; exit 1"
    mount = {"volumeMounts": [{"name": "seen", "mountPath": "/seen"}]}
    pod = shell_pod("again", script, restart="OnFailure", container=mount, volumes=[{"name": "seen", "emptyDir": {}}])
    await api.create(PODS, pod)
    await pod_that(api, "again", lambda each: is_running(each) and restarts(each) == 1)
    assert (await terminal.kubectl("logs", "again", "--previous")).out == b"first\n"
    async with asyncio.timeout(20):
        while (await terminal.kubectl("logs", "again")).out != b"second\n":
            await CLOCK.sleep(0.1)
    await remove_pod(api, "again")


@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_exec(terminal: Terminal, api: HttpKubeApi, websockets: str) -> None:
    name = f"exec-{websockets}"
    await run_pod(api, name)

    async def run(script: str, stdin: bytes | None, code: int, *options: str) -> tuple[bytes, str]:
        done = await terminal.run(
            "kubectl", "exec", *options, name, "--", "sh", "-c", script,
            stdin=stdin, code=code, KUBECTL_REMOTE_COMMAND_WEBSOCKETS=websockets,
        )  # fmt: skip
        return done.out, done.err

    out, err = await run("cat; echo apart >&2; exit 7", b"to the end of stdin", 7, "-i")
    assert out == b"to the end of stdin"
    assert "apart" in err.splitlines()
    assert await run("echo $KUBERNETES_SERVICE_HOST; hostname", None, 0) == (f"10.96.0.1\n{name}\n".encode(), "")
    big = bytes(range(256)) * 4096
    assert await run("cat", big, 0, "-i") == (big, "")
    await remove_pod(api, name)


async def test_a_deleted_pod_leaves_as_soon_as_its_containers_do(api: HttpKubeApi) -> None:
    await run_pod(api, "leaves", terminationGracePeriodSeconds=60)
    began = CLOCK.now()
    await api.delete(f"{PODS}/leaves")
    await pod_gone(api, "leaves")
    assert CLOCK.now() - began < 20


async def test_pods_reach_other_zones_and_the_api_server(terminal: Terminal, api: HttpKubeApi) -> None:
    def in_zone(zone: str) -> Json:
        return {"nodeSelector": {"topology.kubernetes.io/zone": zone}}

    await run_pod(
        api, "serves", "mkdir /www; echo across > /www/index.html; httpd -f -p 8080 -h /www", **in_zone("zone-a")
    )
    asks: Json = {"image": "curlimages/curl:latest"}
    await run_pod(api, "asks", container=asks, automountServiceAccountToken=True, **in_zone("zone-b"))
    serves = await api.get(f"{PODS}/serves")
    address = serves["status"]["podIP"]
    assert address != (await api.get(f"{PODS}/asks"))["status"]["podIP"]

    async def in_asks(script: str, code: int = 0) -> str:
        return (await terminal.kubectl("exec", "asks", "--", "sh", "-c", script, code=code)).text

    assert await in_asks(f"curl -sS --retry 5 --retry-connrefused --max-time 20 http://{address}:8080/") == "across"
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    api_server = "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT"
    bearer = f'-H "Authorization: Bearer $(cat {account}/token)"'
    review = '{"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}'
    asked = f"{api_server}/apis/authentication.k8s.io/v1/selfsubjectreviews -H 'Content-Type: application/json' -d '{review}'"
    who = await in_asks(f"curl -sS --max-time 20 --cacert {account}/ca.crt {bearer} {asked}")
    assert "system:serviceaccount:default:default" in who
    await in_asks(
        f"curl -sS --max-time 20 {bearer} {api_server}/api", code=60
    )  # another CA: the certificate is refused
    await remove_pod(api, "serves", "asks")


async def test_a_deleted_node_comes_back_and_runs_pods(terminal: Terminal, api: HttpKubeApi) -> None:
    shown = (await terminal.kubectl("get", "nodes", "-o", "wide", "--no-headers")).text.splitlines()
    listed = {each["metadata"]["name"]: each for each in (await api.list(NODES))["items"]}
    assert len(shown) == len(listed) == 3
    addresses = {
        name: [one["address"] for one in each["status"]["addresses"] if one["type"] == "InternalIP"]
        for name, each in listed.items()
    }
    assert all(
        line.split()[1:3] == ["Ready", "agent"] and addresses[line.split()[0]] == [line.split()[5]] for line in shown
    )
    assert len({each for one in addresses.values() for each in one}) == 3

    name = max(listed)
    await terminal.kubectl("delete", "node", name)
    before = listed[name]["metadata"]["uid"]
    await wait_for(
        api,
        f"{NODES}/{name}",
        lambda node: node["metadata"]["uid"] != before and is_ready(node),
        clock=CLOCK,
        seconds=60,
    )
    await run_pod(api, "on-the-new-node", nodeSelector={"kubernetes.io/hostname": name})
    assert (await terminal.kubectl("exec", "on-the-new-node", "--", "echo", "here")).out == b"here\n"
    await remove_pod(api, "on-the-new-node")
