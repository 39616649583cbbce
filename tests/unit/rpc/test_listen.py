"""Where the API listens: who may use it, what is refused, what a restart finds."""

import asyncio
import socket
import stat
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from provider.clock import SystemClock
from provider.cloud.backend import ExecRequest, LogOptions
from provider.cluster.pki import Pki
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid
from provider.model.instance import Synced
from provider.rpc.client import RemoteBackend
from provider.rpc.gen.elastic.v1 import service_pb2, service_pb2_grpc
from provider.rpc.options import AddressError, TlsFiles
from provider.rpc.server import serve


async def test_the_socket_is_for_its_owner_and_goes_with_the_server(backend: Any, tmp_path: Path) -> None:
    path = tmp_path / "state" / "elastic.sock"
    async with serve(backend, f"unix:{path}") as bound:
        assert bound == f"unix:{path}"
        mode = path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert [entry.name for entry in path.parent.iterdir()] == ["elastic.sock"]
    assert not path.exists()


async def test_the_socket_of_a_dead_process_is_replaced(backend: Any, tmp_path: Path) -> None:
    path = tmp_path / "elastic.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
        left.listen()
    async with serve(backend, f"unix:{path}"), RemoteBackend(f"unix:{path}") as remote:
        assert (await remote.health()).healthy


async def test_the_socket_of_a_living_process_is_left_alone(backend: Any, address: str) -> None:
    async with serve(backend, address):
        with pytest.raises(AddressError, match="another process answers there"):
            async with serve(backend, address):
                pass
        async with RemoteBackend(address) as remote:
            assert (await remote.health()).healthy


async def test_a_file_in_the_way_is_left_alone(backend: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(AddressError, match="no socket; move it away"):
        async with serve(backend, f"unix:{tmp_path}/file"):
            pass
    assert (tmp_path / "file").read_text() == "precious"


async def test_a_server_that_came_after_keeps_its_socket(backend: Any, tmp_path: Path) -> None:
    path = tmp_path / "elastic.sock"
    with socket.socket(socket.AF_UNIX) as other:
        async with serve(backend, f"unix:{path}"):
            path.unlink()
            other.bind(str(path))
        assert path.exists()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("unix:relative.sock", "write unix:/absolute/path"),
        (f"unix:/tmp/{'x' * 110}", "the system allows 107; choose a shorter state directory"),
        ("localhost", "write host:port"),
        ("127.0.0.1:http", "write host:port"),
        ("127.0.0.1:65536", "write host:port"),
        (":50051", "write host:port"),
        ("0.0.0.0:50051", "can be reached from other machines"),
        ("[::]:50051", "can be reached from other machines"),
        ("192.168.1.5:50051", "use a Unix socket, 127.0.0.1, or TLS"),
        ("example.com:50051", "can be reached from other machines"),
    ],
)
async def test_an_address_that_cannot_be_used_is_refused_at_both_ends(backend: Any, address: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        async with serve(backend, address):
            pass
    with pytest.raises(AddressError, match=reason):
        RemoteBackend(address)


async def test_a_directory_that_cannot_be_made_is_told(backend: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AddressError, match=r"cannot listen on unix:.*Not a directory"):
        async with serve(backend, f"unix:{tmp_path}/file/elastic.sock"):
            pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_needs_no_tls(backend: Any, host: str) -> None:
    async with serve(backend, f"{host}:0") as bound, RemoteBackend(bound) as remote:
        assert not bound.endswith(":0")
        assert (await remote.health()).healthy


async def test_a_port_in_use_is_refused(backend: Any) -> None:
    async with serve(backend, "127.0.0.1:0") as bound:
        with pytest.raises(AddressError, match=f"cannot listen on {bound}"):
            async with serve(backend, bound):
                pass


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path, SystemClock())


def server_tls(pki: Pki) -> TlsFiles:
    ca = pki.authority("ca")
    pair = pki.server(ca, "elastic", ["localhost"], ["127.0.0.1", "::1"])
    return TlsFiles(pair.certificate, pair.key, ca.certificate)


def client_tls(pki: Pki, authority: str) -> TlsFiles:
    """Return the files of a client that trusts the server and whose certificate `authority` has signed."""
    pair = pki.client(pki.authority(authority), f"client-of-{authority}", "cli")
    return TlsFiles(pair.certificate, pair.key, pki.authority("ca").certificate)


async def test_tls_lets_in_whom_the_authority_knows(backend: Any, pki: Pki) -> None:
    async with serve(backend, "127.0.0.1:0", tls=server_tls(pki)) as bound:
        async with RemoteBackend(bound, tls=client_tls(pki, "ca")) as remote:
            assert (await remote.health()).healthy
        async with RemoteBackend(bound, tls=client_tls(pki, "other-ca")) as stranger:
            assert not (await stranger.health()).healthy
        async with RemoteBackend(bound) as plain:
            assert not (await plain.health()).healthy
    assert backend.asked == [("health",)]


async def test_tls_makes_every_address_allowed(backend: Any, pki: Pki) -> None:
    async with serve(backend, "0.0.0.0:0", tls=server_tls(pki)) as bound:
        port = bound.rpartition(":")[2]
        async with RemoteBackend(f"127.0.0.1:{port}", tls=client_tls(pki, "ca")) as remote:
            assert (await remote.health()).healthy


async def test_a_tls_file_that_is_not_there_is_named(backend: Any, pki: Pki, tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "no.pem", tmp_path / "no.key", tmp_path / "no-ca.pem")
    with pytest.raises(AddressError, match=r"no.* cannot be read: No such file"):
        async with serve(backend, "127.0.0.1:0", tls=files):
            pass
    with pytest.raises(AddressError, match=r"no.* cannot be read: No such file"):
        async with RemoteBackend("127.0.0.1:1", tls=files):
            pass


async def test_health_and_reflection_are_served(backend: Any, address: str) -> None:
    async with serve(backend, address), grpc.aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "elastic.v1.ContainerGroups", "elastic.v1.Zones"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await reflection.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = {service.name for service in (await reflection.read()).list_services_response.service}
        reflection.cancel()
        assert {"elastic.v1.ContainerGroups", "elastic.v1.Zones", "grpc.health.v1.Health"} <= listed


async def test_a_request_of_a_newer_client_is_refused_not_guessed(backend: Any, address: str) -> None:
    async with serve(backend, address), grpc.aio.insecure_channel(address) as channel:
        stub = service_pb2_grpc.ContainerGroupsStub(channel)
        request = service_pb2.CreateContainerGroupRequest()
        request.spec.uid = "u1"
        request.spec.market = 9
        with pytest.raises(grpc.aio.AioRpcError, match="market: value 9 of Market") as caught:
            await stub.CreateContainerGroup(request)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        newer = service_pb2.DescribeContainerGroupRequest.FromString(b"\x0a\x01u\xf8\x06\x01")
        with pytest.raises(grpc.aio.AioRpcError, match="field 111 is not known") as caught:
            await stub.DescribeContainerGroup(newer)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        request = service_pb2.CreateContainerGroupRequest()
        request.spec.containers.add(name="main").liveness.period = 1
        with pytest.raises(grpc.aio.AioRpcError, match="action: is missing") as caught:
            await stub.CreateContainerGroup(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert backend.asked == []


async def test_an_exec_that_does_not_begin_with_start_is_refused(backend: Any, address: str) -> None:
    async with serve(backend, address), grpc.aio.insecure_channel(address) as channel:
        stub = service_pb2_grpc.ContainerGroupsStub(channel)
        call = stub.ExecContainerCommand()
        await call.write(service_pb2.ExecContainerCommandRequest(stdin=b"x"))
        with pytest.raises(grpc.aio.AioRpcError, match="has to be `start`"):
            await call.read()
        call = stub.ExecContainerCommand()
        start = service_pb2.ExecStart(uid="u", request=service_pb2.ExecRequest(container="c", command=["silent"]))
        for _ in range(2):
            await call.write(service_pb2.ExecContainerCommandRequest(start=start))
        assert (await call.read()).HasField("started")
        with pytest.raises(grpc.aio.AioRpcError, match="input start has no place"):
            await call.read()
        await asyncio.wait_for(backend.sessions[0].closed.wait(), 10)


async def test_the_end_of_the_requests_is_the_end_of_stdin(backend: Any, address: str) -> None:
    async with serve(backend, address), grpc.aio.insecure_channel(address) as channel:
        call = service_pb2_grpc.ContainerGroupsStub(channel).ExecContainerCommand()
        request = service_pb2.ExecRequest(container="c", command=["echo"], stdin=True)
        start = service_pb2.ExecStart(uid="u", request=request)
        await call.write(service_pb2.ExecContainerCommandRequest(start=start))
        await call.done_writing()
        kinds = [message.WhichOneof("output") async for message in call]
        assert kinds == ["started", "stderr", "exit_code"]
        assert backend.sessions[0].received == ["closed"]


async def test_max_changes_bounds_a_response(backend: Any, address: str) -> None:
    for number in range(5):
        backend.put(f"u{number}")
    async with serve(backend, address), grpc.aio.insecure_channel(address) as channel:
        call = service_pb2_grpc.ContainerGroupsStub(channel).WatchContainerGroups()
        sizes = []
        for most in (2, 1, 0):
            await call.write(service_pb2.WatchContainerGroupsRequest(max_changes=most))
            sizes.append(len((await call.read()).changes))
        assert sizes == [2, 1, 3]
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


# ---------------------------------------------------------------- connections that end


async def test_without_a_server_calls_are_unavailable_and_health_says_so(address: str) -> None:
    async with RemoteBackend(address) as remote:
        with pytest.raises(CloudError, match="cannot be reached") as caught:
            await remote.describe_zones()
        assert caught.value.code is CloudCode.UNAVAILABLE
        assert caught.value.retry_after == 1.0
        health = await remote.health()
        assert (health.healthy, health.reason) == (False, "CloudUnavailable")
        assert address in health.message


async def test_a_server_that_stops_ends_every_stream_with_unavailable(backend: Any, address: str) -> None:
    async with RemoteBackend(address) as remote:
        async with serve(backend, address):
            changes = remote.watch()
            assert await anext(changes) == Synced(0)
            log = remote.logs(PodUid("u"), "main", LogOptions(follow=True))
            await anext(log)
            session = await remote.exec(PodUid("u"), ExecRequest(container="main", command=("silent",)))
        for ended in (everything(changes), everything(log), everything(session.output()), session.wait()):
            error = await failure_of(ended)
            assert error.code is CloudCode.UNAVAILABLE
            assert error.retry_after is not None
        await session.close()
    for closed in (backend.watch_closed, backend.log_closed, backend.sessions[0].closed):
        await asyncio.wait_for(closed.wait(), 10)


async def test_a_new_watch_finds_the_next_server(backend: Any, address: str) -> None:
    async with RemoteBackend(address) as remote:
        async with serve(backend, address):
            assert (await remote.health()).healthy
        assert not (await remote.health()).healthy
        async with serve(backend, address):
            while not (await remote.health()).healthy:  # the channel connects again by itself
                pass
            async with aclosing(remote.watch()) as again:
                assert await anext(again) == Synced(0)


async def test_closing_the_client_ends_its_calls_as_unavailable_not_as_cancelled(backend: Any, address: str) -> None:
    async with serve(backend, address), asyncio.TaskGroup() as group:
        async with RemoteBackend(address) as remote:
            changes = remote.watch()
            assert await anext(changes) == Synced(0)
            session = await remote.exec(PodUid("u"), ExecRequest(container="main", command=("silent",)))
            waiting = [group.create_task(failure_of(call)) for call in (anext(changes), session.wait())]
            await turns()
        for task in waiting:
            assert (await task).code is CloudCode.UNAVAILABLE


async def test_an_exception_in_the_clients_block_comes_out_as_it_is(address: str) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with RemoteBackend(address):
            raise KeyError("mine")


async def test_a_deadline_is_unavailable(backend: Any, address: str) -> None:
    async with serve(backend, address), RemoteBackend(address, seconds=0.05) as remote:
        backend.hang = True
        error = await failure_of(remote.describe_zones())
    assert error.code is CloudCode.UNAVAILABLE
    assert "did not answer in time" in error.message


async def everything(source: Any) -> list[Any]:
    return [item async for item in source]


async def turns(count: int = 100) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turned = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


async def failure_of(call: Any) -> CloudError:
    with pytest.raises(CloudError) as caught:
        await call
    return caught.value
