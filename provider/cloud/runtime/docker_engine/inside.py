"""A connection to a port of an instance's own loopback: a socket made in its sandbox's network namespace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.network_namespace import connected_socket, namespace_number

if TYPE_CHECKING:
    import socket

    from provider.cloud.runtime.docker_engine.engine import Engine

_LOOPBACKS = ("127.0.0.1", "::1")


async def connect_inside(engine: Engine, sandbox: str, port: int, seconds: float) -> socket.socket:
    """Connect over IPv4, else IPv6, as CRI runtimes do. OSError of the first, RuntimeFault START or UNSUPPORTED."""
    found = await engine.inspect(sandbox)
    pid = 0 if found is None else int(found["State"]["Pid"])
    if found is None or not pid:
        raise RuntimeFault(FaultKind.START, f"sandbox {sandbox} does not run: there is no network to connect in")
    number = namespace_number(pid)
    if number is None or str(found["Id"]) not in _cgroup(pid):
        text = "the engine's processes are not in this machine's /proc: run the provider on the engine's host"
        raise RuntimeFault(FaultKind.UNSUPPORTED, f"port-forward into {sandbox} cannot be made: {text}")
    refused: OSError | None = None
    for host in _LOOPBACKS:
        try:
            return await connected_socket(pid, host, port, seconds, number)
        except OSError as error:
            refused = refused or error
    assert refused is not None  # noqa: S101 - there are two addresses
    raise refused


def _cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""
