"""A zone's router: one container on the cluster's network, on each of its zone's vSwitches, and on the way out.

A router that is not exactly what is wanted (stopped, other networks, other addresses, another recipe) is removed and
made anew; nothing is mended in place. Its address, and so the node's InternalIP, is written on it and on the zone's
networks; its namespace is new, and sockets that listened in the old one are dead.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.engine import faults
from provider.cloud.runtime.docker_engine.labels import FINGERPRINT, Role, encode_zone
from provider.cloud.runtime.docker_engine.naming import gateway_name
from provider.cloud.runtime.docker_engine.network import router_address
from provider.cloud.runtime.docker_engine.network_namespace import namespace_number
from provider.cloud.runtime.docker_engine.zone_routing import Attachment
from provider.model.ids import ZoneId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiodocker import Docker

    from provider.cloud.runtime.docker_engine.engine import Engine

OUT_NETWORK = "bridge"
"""The engine's default network: masqueraded by the host, it is the way out."""
_SCRIPT_SECONDS = 30.0


class Cluster(Struct, frozen=True):
    """The network where the zones' routers meet. `own`: made by this installation, addresses are reserved by it."""

    name: str
    cidr: str
    own: bool


class RouterSpec(Struct, frozen=True, kw_only=True):
    """A router to be made. `switches` are (network name, CIDR)."""

    installation: str
    zone: ZoneId
    image: str
    cluster: Cluster
    address: str
    switches: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The container's name."""
        return gateway_name(self.installation, self.zone)

    def networks(self) -> dict[str, str]:
        """Return every network that the router is on, with its address there, "" for one that the engine chooses.

        In a network of somebody else (kind's has no subnet chosen by its user) the engine refuses to take an address
        from us; there the router holds the node's address as a second one, which the engine knows nothing of.
        """
        cluster = {self.cluster.name: self.address if self.cluster.own else ""}
        return cluster | {name: router_address(cidr) for name, cidr in self.switches} | {OUT_NETWORK: ""}


class Router(Struct, frozen=True, kw_only=True):
    """A router that runs. `key` tells one life from the next: a restart has a new namespace."""

    spec: RouterSpec
    container_id: str
    pid: int
    namespace: int | None
    """inode of its network namespace; None where this process cannot see the engine's processes."""
    started: str
    cluster: Attachment
    out: str
    out_gateway: str

    @property
    def key(self) -> tuple[str, str]:
        """Identity of this life."""
        return self.container_id, self.started


def router_body(spec: RouterSpec) -> dict[str, Any]:
    """Return the body of `POST /containers/create`; the other networks are joined before the start."""
    body: dict[str, Any] = {
        "Image": spec.image,
        "Hostname": f"{spec.zone}-router",
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "NetworkMode": spec.cluster.name,
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_ADMIN"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "LogConfig": {"Type": "none"},
            "Sysctls": {
                "net.ipv4.ip_forward": "1",
                "net.ipv4.conf.all.rp_filter": "0",
                "net.ipv4.conf.default.rp_filter": "0",
            },
        },
        "NetworkingConfig": {
            "EndpointsConfig": {spec.cluster.name: _endpoint(spec.networks()[spec.cluster.name])},
        },
    }
    recipe = json.dumps([body, spec.address], sort_keys=True).encode()
    labels = encode_zone(spec.installation, Role.GATEWAY, spec.zone, spec.address)
    return body | {"Labels": labels | {FINGERPRINT: hashlib.sha256(recipe).hexdigest()[:16]}}


def misfit(inspected: Mapping[str, Any], spec: RouterSpec, networks: Mapping[str, str]) -> str:
    """Return why this container is not the router of the spec, "" if it is; `networks` gives each name's ID."""
    state = inspected["State"]
    if not state["Running"] or state.get("Paused") or state.get("Restarting"):
        return f"it is {state['Status']}"
    labels = inspected["Config"].get("Labels") or {}
    if labels.get(FINGERPRINT) != router_body(spec)["Labels"][FINGERPRINT]:
        return "it was made in another way"
    joined, wanted = inspected["NetworkSettings"]["Networks"], spec.networks()
    if joined.keys() != wanted.keys():
        return f"it is on the networks {', '.join(sorted(joined))}"
    for name, address in wanted.items():
        if name in networks and joined[name]["NetworkID"] != networks[name]:
            return f"it is on an earlier network {name}"
        if not joined[name]["IPAddress"] or address not in ("", joined[name]["IPAddress"]):
            return f"its address on {name} is {joined[name]['IPAddress'] or 'none'}"
    return ""


async def ensure_router(client: Docker, engine: Engine, spec: RouterSpec, networks: Mapping[str, str]) -> Router:
    """Return the zone's router, made now or before. RuntimeFault CONFIG, CREATE, SANDBOX, UNAVAILABLE."""
    inspected = await engine.inspect(spec.name)
    if inspected is not None and misfit(inspected, spec, networks):
        await engine.remove_alone(spec.name)
        inspected = None
    if inspected is None:
        inspected = await _make(client, engine, spec)
        if reason := misfit(inspected, spec, networks):
            raise RuntimeFault(FaultKind.SANDBOX, f"the router of zone {spec.zone} is not usable: {reason}")
    return await asyncio.to_thread(_router, inspected, spec)


async def run_script(client: Docker, router: Router, script: str) -> None:
    """Run a script inside the router. RuntimeFault SANDBOX with what it said when it fails."""
    said = b""
    with faults(FaultKind.SANDBOX):
        try:
            async with asyncio.timeout(_SCRIPT_SECONDS):
                run = await client.containers.container(router.container_id).exec(["sh", "-c", script])
                async with run.start() as stream:
                    while (message := await stream.read_out()) is not None:
                        said += message.data
                code = (await run.inspect())["ExitCode"]
        except TimeoutError as error:
            text = f"the router of zone {router.spec.zone} did not take its rules within {_SCRIPT_SECONDS:.0f} s"
            raise RuntimeFault(FaultKind.UNAVAILABLE, text) from error
    if code != 0:
        text = said.decode(errors="replace").strip() or f"exit code {code}"
        raise RuntimeFault(FaultKind.SANDBOX, f"the router of zone {router.spec.zone} refuses its rules: {text}")


async def _make(client: Docker, engine: Engine, spec: RouterSpec) -> dict[str, Any]:
    """Make and start the container. It joins its networks before the start: one set-up, no default route that moves."""
    await engine.create(spec.name, router_body(spec))
    with faults(FaultKind.CONFIG):
        for name, address in spec.networks().items():
            if name != spec.cluster.name:
                network = await client.networks.get(name)
                await network.connect({"Container": spec.name, "EndpointConfig": _endpoint(address)})
    await engine.start(spec.name, FaultKind.SANDBOX)
    inspected = await engine.inspect(spec.name)
    if inspected is None:
        raise RuntimeFault(FaultKind.UNAVAILABLE, f"the router of zone {spec.zone} was removed as it started")
    return inspected


def _router(inspected: Mapping[str, Any], spec: RouterSpec) -> Router:
    joined = inspected["NetworkSettings"]["Networks"]
    pid = inspected["State"]["Pid"]
    return Router(
        spec=spec,
        container_id=inspected["Id"],
        pid=pid,
        namespace=namespace_number(pid),
        started=inspected["State"]["StartedAt"],
        cluster=Attachment(joined[spec.cluster.name]["IPAddress"], spec.address, spec.cluster.cidr),
        out=joined[OUT_NETWORK]["IPAddress"],
        out_gateway=joined[OUT_NETWORK]["Gateway"],
    )


def _endpoint(address: str) -> dict[str, Any]:
    return {"IPAMConfig": {"IPv4Address": address}} if address else {}
