"""A node's certificates: asked for once, kept, renewed in time, refused with the next step."""

from __future__ import annotations

import asyncio
import base64
import ssl
from itertools import pairwise
from random import Random  # noqa: TID251 (a fixed seed)
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509

from provider.clock import LoopClock
from provider.kube.client import KubeError
from provider.kube.connection import Connection
from provider.node.certificate import CertificateFile, Wanted, make_request, read_certificate
from provider.node.client_cert import NodeCredential
from provider.node.serving_cert import ServingCertificate
from provider.node.signing import SigningPendingError, SigningRefusedError
from tests.unit.node.fake_cluster import CSRS, DAY, FakeCluster, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NODE = "virtual-kubelet-zone-a"


def credential(cluster: FakeCluster, directory: Path, ca: bytes | None = None) -> NodeCredential:
    connection = Connection(
        source="", context="", server="https://10.0.0.1:6443", ca=cluster.ca_pem if ca is None else ca
    )
    return NodeCredential(cluster, connection, NODE, directory, clock=cluster.clock, random=Random(1))


def serving(cluster: FakeCluster, directory: Path) -> ServingCertificate:
    return ServingCertificate(
        cluster, NODE, directory, cluster_ca=cluster.ca_pem, client_ca="", clock=cluster.clock, random=Random(1)
    )


def node(*addresses: str) -> dict[str, object]:
    found = [{"type": "InternalIP", "address": each} for each in addresses]
    return {
        "metadata": {"name": NODE, "uid": "u"},
        "status": {"addresses": [*found, {"type": "Hostname", "address": NODE}]},
    }


def presented(context: ssl.SSLContext, ca: bytes) -> x509.Certificate | None:
    """Return the certificate that a handshake shows, None when there is none to show."""
    client = ssl.create_default_context(cadata=ca.decode())
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    outer = client.wrap_bio(back, there, server_hostname=NODE)
    inner = context.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (outer, inner):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return None
    shown = outer.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def test_a_credential_is_asked_for_once_and_used_again(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock())
        path = await credential(cluster, tmp_path).ensure()
        (request,) = cluster.requests()
        assert request["spec"]["signerName"] == "kubernetes.io/kube-apiserver-client-kubelet"
        assert request["spec"]["usages"] == ["digital signature", "client auth"]
        assert await credential(cluster, tmp_path).ensure() == path
        assert len(cluster.requests()) == 1
        config = yaml.safe_load(path.read_text())
        user = config["users"][0]["user"]
        assert user["client-certificate"] == user["client-key"] == str(tmp_path / f"{NODE}.pem")
        assert config["clusters"][0]["cluster"]["server"] == "https://10.0.0.1:6443"
        text = (tmp_path / f"{NODE}.pem").read_bytes()
        got = x509.load_pem_x509_certificates(text)[0]
        assert got.subject.rfc4514_string() == f"CN=system:node:{NODE},O=system:nodes"
        ssl.create_default_context().load_cert_chain(tmp_path / f"{NODE}.pem")
        assert (tmp_path / f"{NODE}.ca.crt").read_bytes() == cluster.ca_pem

    run(play())


def test_what_another_cluster_gave_is_asked_for_anew(tmp_path: Path) -> None:
    async def play() -> None:
        first, second = FakeCluster(LoopClock()), FakeCluster(LoopClock())
        await credential(first, tmp_path).ensure()
        await credential(second, tmp_path).ensure()
        assert len(second.requests()) == 1
        assert (tmp_path / f"{NODE}.ca.crt").read_bytes() == second.ca_pem

    run(play())


def test_nobody_approves_and_the_next_start_waits_for_the_same_request(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock(), approve=lambda _: None)
        before = cluster.clock.now()
        with pytest.raises(SigningPendingError) as caught:
            await credential(cluster, tmp_path).ensure(60)
        assert cluster.clock.now() - before == pytest.approx(60, abs=1)
        (request,) = cluster.requests()
        name = request["metadata"]["name"]
        assert f"kubectl certificate approve {name}" in str(caught.value)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(credential(cluster, tmp_path).ensure(60))
            await cluster.clock.sleep(30)
            assert len(cluster.requests()) == 1
            cluster.decide(name, True)
            await waiting
        assert cluster.clock.now() - before < 95

    run(play())


def test_a_request_that_was_cleaned_up_is_made_again(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock(), approve=lambda _: None)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(credential(cluster, tmp_path).ensure(1000))
            await cluster.clock.sleep(5)
            (request,) = cluster.requests()
            cluster.remove(f"{CSRS}/{request['metadata']['name']}")
            await cluster.clock.sleep(5)
            (again,) = cluster.requests()
            assert again["spec"] == request["spec"]
            cluster.decide(again["metadata"]["name"], True)
            await waiting

    run(play())


def test_a_denial_is_told_and_the_next_request_is_another(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock(), approve=lambda _: False)
        with pytest.raises(SigningRefusedError, match="denied: Test: because"):
            await credential(cluster, tmp_path).ensure()
        cluster.approve = lambda _: True
        await credential(cluster, tmp_path).ensure()
        assert len({each["metadata"]["name"] for each in cluster.requests()}) == 2

    run(play())


def test_who_may_not_ask_is_told_at_once(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock())
        cluster.down = [KubeError(403, "Forbidden", "cannot get")]
        with pytest.raises(KubeError, match="403"):
            await credential(cluster, tmp_path).ensure()

    run(play())


def test_an_api_server_that_is_away_is_waited_for(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock())
        cluster.down = [KubeError(0, "ClientConnectorError", "") for _ in range(5)]
        await credential(cluster, tmp_path).ensure()
        assert len(cluster.requests()) == 1

    run(play())


def test_it_is_renewed_between_70_and_90_percent_again_and_again(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock())
        made = credential(cluster, tmp_path)
        await made.ensure()
        times: list[float] = [cluster.clock.now()]
        ten = asyncio.Event()

        async def renewed() -> None:
            times.append(cluster.clock.now())
            if len(times) == 10:
                ten.set()

        async with asyncio.TaskGroup() as group:
            running = group.create_task(made.run(renewed))
            await ten.wait()
            running.cancel()
        steps = [(after - before) / cluster.lifetime for before, after in pairwise(times)]
        assert all(0.7 <= step <= 0.9 for step in steps)
        assert len({round(step, 3) for step in steps}) > 5  # not all at the same share
        assert len(cluster.requests()) == 10

    run(play())


def test_a_renewal_that_fails_is_tried_until_it_works(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock())
        made = credential(cluster, tmp_path)
        await made.ensure()
        cluster.approve = lambda _: False
        renewed = asyncio.Event()

        async def tell() -> None:
            renewed.set()

        async with asyncio.TaskGroup() as group:
            running = group.create_task(made.run(tell))
            await cluster.clock.sleep(DAY)
            asked = len(cluster.requests())
            assert 10 < asked < 150  # it goes on asking, but not without a pause
            assert not renewed.is_set()
            cluster.approve = lambda _: True
            await asyncio.wait_for(renewed.wait(), 400)
            running.cancel()

    run(play())


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock())
        await credential(cluster, tmp_path).ensure()
        file = tmp_path / f"{NODE}.pem"
        file.write_bytes(file.read_bytes()[:300])
        await credential(cluster, tmp_path).ensure()
        assert len(cluster.requests()) == 2

    run(play())


def test_a_key_of_another_certificate_is_refused() -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock())
        one, other = (make_request(Wanted(node=NODE, kind="client")) for _ in range(2))

        pem = cluster.sign({"spec": {"request": base64.b64encode(one.request), "signerName": "x"}})
        with pytest.raises(ValueError, match="does not belong"):
            read_certificate(pem, other.key)

    run(play())


def test_a_pending_key_serves_only_what_was_asked(tmp_path: Path) -> None:
    wanted = Wanted(node=NODE, kind="serving", names=(NODE,), addresses=("10.0.0.1",))
    file = CertificateFile(tmp_path, "x", b"ca")
    made = make_request(wanted)
    file.save_pending(made)
    assert file.pending(wanted) == made
    assert file.pending(Wanted(node=NODE, kind="serving", names=(NODE,), addresses=("10.0.0.2",))) is None
    assert CertificateFile(tmp_path, "x", b"other").pending(wanted) is None


async def until(cluster: FakeCluster, holds: Callable[[], bool]) -> None:
    """Wait until something holds; an hour of the cluster's time at most."""
    end = cluster.clock.now() + 3600
    while not holds():
        assert cluster.clock.now() < end
        await cluster.clock.sleep(1)


def test_the_port_shows_the_certificate_as_soon_as_it_is_there(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock(), approve=lambda _: None)
        port = serving(cluster, tmp_path)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(port.run())
            await cluster.clock.sleep(100)
            assert cluster.requests() == []  # nothing is asked for a Node that nobody has seen
            port.node_seen(node("172.20.0.5"))
            await cluster.clock.sleep(60)
            assert presented(port.context, cluster.ca_pem) is None
            (request,) = cluster.requests()
            (event,) = cluster.events()
            assert (event["reason"], event["involvedObject"]["uid"]) == ("ServingCertificatePending", "u")
            assert f"kubectl certificate approve {request['metadata']['name']}" in event["message"]
            cluster.decide(request["metadata"]["name"], True)
            await until(cluster, lambda: presented(port.context, cluster.ca_pem) is not None)
            shown = presented(port.context, cluster.ca_pem)
            assert shown is not None
            names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == [NODE]
            assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["172.20.0.5"]
            running.cancel()
        again = serving(cluster, tmp_path)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(again.run())
            again.node_seen(node("172.20.0.5"))
            await until(cluster, lambda: presented(again.context, cluster.ca_pem) == shown)
            running.cancel()
        assert len(cluster.requests()) == 1

    run(play())


def test_a_new_address_gives_up_the_wait_and_replaces_the_certificate(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock(), approve=lambda _: None)
        port = serving(cluster, tmp_path)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(port.run())
            port.node_seen(node())
            await cluster.clock.sleep(1)
            cluster.approve = lambda _: True
            port.node_seen(node("172.20.0.5"))
            port.node_seen(node("172.20.0.5"))
            await until(cluster, lambda: presented(port.context, cluster.ca_pem) is not None)
            first = presented(port.context, cluster.ca_pem)
            port.node_seen(node("172.20.0.6"))
            await until(cluster, lambda: presented(port.context, cluster.ca_pem) != first)
            assert len(cluster.requests()) == 3
            await cluster.clock.sleep(cluster.lifetime)  # and it is renewed too
            assert len(cluster.requests()) == 4
            running.cancel()

    run(play())


def test_callers_certificates_are_asked_for_where_a_ca_is_known(tmp_path: Path) -> None:
    async def play() -> None:
        cluster = FakeCluster(LoopClock())
        port = serving(cluster, tmp_path)
        assert port.context.verify_mode is ssl.CERT_NONE
        port.trust(cluster.ca_pem.decode())
        assert port.context.verify_mode is ssl.CERT_OPTIONAL

    run(play())
