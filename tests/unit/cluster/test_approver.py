"""What becomes of a request for a kubelet serving certificate."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from random import Random  # noqa: TID251 (a fixed seed)
from typing import TYPE_CHECKING, Any

import looptime
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provider.clock import LoopClock
from provider.cluster.approver import REQUESTS, Approver, judge
from provider.kube.client import HttpKubeApi, KubeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

KEY = ec.generate_private_key(ec.SECP256R1())
NODE = {
    "metadata": {"name": "n"},
    "status": {
        "addresses": [
            {"type": "InternalIP", "address": "172.20.0.5"},
            {"type": "ExternalIP", "address": "8.8.8.8"},
            {"type": "Hostname", "address": "n"},
        ]
    },
}
DNS = x509.DNSName("n")
IP = x509.IPAddress(ipaddress.ip_address("172.20.0.5"))


def pem(
    *names: x509.GeneralName,
    common: str = "system:node:n",
    groups: tuple[str, ...] = ("system:nodes",),
    extra: tuple[tuple[x509.ObjectIdentifier, str], ...] = (),
) -> bytes:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    parts += [x509.NameAttribute(oid, value) for oid, value in extra]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def request(text: bytes | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "csr-1", "uid": "u", "resourceVersion": "7"},
        "spec": {
            "username": "system:node:n",
            "groups": ["system:nodes", "system:authenticated"],
            "signerName": "kubernetes.io/kubelet-serving",
            "usages": ["digital signature", "server auth"],
            "request": base64.b64encode(pem(DNS, IP) if text is None else text).decode(),
            **spec,
        },
    }


@pytest.mark.parametrize(
    "good",
    [
        request(),
        request(pem(IP)),
        request(pem(DNS)),
        request(usages=["server auth", "key encipherment", "digital signature"]),
    ],
)
def test_a_node_gets_what_is_its_own(good: dict[str, Any]) -> None:
    assert judge(good, NODE).decision == "approve"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (request(username="alice"), "alice, which is no node"),
        (request(username="system:node:"), "no node"),
        (request(username=""), "nobody"),
        (request(groups=["system:authenticated"]), "no node"),
        (request(username="system:node:m"), "subject"),
        (request(usages=["digital signature", "server auth", "client auth"]), "usages"),
        (request(usages=["server auth"]), "usages"),
        (request(usages=None), "usages"),
        (request(b"no pem"), "cannot be read"),
        (request(request="%%%"), "cannot be read"),
        (request(pem(DNS, common="system:node:m")), "subject"),
        (request(pem(DNS, groups=("system:masters",))), "subject"),
        (request(pem(DNS, groups=("system:nodes", "system:masters"))), "subject"),
        (request(pem(DNS, groups=())), "subject"),
        (request(pem(DNS, extra=((NameOID.ORGANIZATIONAL_UNIT_NAME, "x"),))), "subject"),
        (request(pem(DNS, extra=((NameOID.COMMON_NAME, "system:node:n"),))), "subject"),
        (request(pem()), "neither"),
        (request(pem(x509.DNSName("kubernetes"), IP)), "DNS names"),
        (request(pem(x509.DNSName("*.n"), IP)), "DNS names"),
        (request(pem(DNS, x509.RFC822Name("a@b.c"))), "RFC822Name"),
        (request(pem(DNS, x509.UniformResourceIdentifier("spiffe://x"))), "UniformResourceIdentifier"),
        (request(pem(x509.IPAddress(ipaddress.ip_address("172.20.0.6")))), "172.20.0.6"),
        (request(pem(x509.IPAddress(ipaddress.ip_address("8.8.8.8")))), "8.8.8.8"),
        (request(pem(x509.IPAddress(ipaddress.ip_address("::1")))), "::1"),
    ],
)
def test_anything_else_is_denied_with_the_reason(bad: dict[str, Any], why: str) -> None:
    verdict = judge(bad, NODE)
    assert verdict.decision == "deny"
    assert why in verdict.message


def test_a_request_signed_by_another_key_is_denied() -> None:
    der = bytearray(x509.load_pem_x509_csr(pem(DNS, IP)).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    assert "own key" in judge(request(forged), NODE).message


def test_a_node_that_is_not_there_yet_is_waited_for() -> None:
    assert judge(request(), None).decision == "wait"
    assert judge(request(username="alice"), None).decision == "deny"


def test_a_node_without_addresses_has_none() -> None:
    assert judge(request(), {"metadata": {}}).decision == "deny"


class ClusterApi(HttpKubeApi):
    """Requests and nodes in memory; the watch gives what was there and stays silent."""

    def __init__(self, *requests: dict[str, Any]) -> None:
        super().__init__(None)
        self.requests = {each["metadata"]["name"]: each for each in requests}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.refusals: list[KubeError] = []
        self.done = asyncio.Event()

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        assert (query or {})["fieldSelector"] == "spec.signerName=kubernetes.io/kubelet-serving"
        return {"metadata": {"resourceVersion": "9"}, "items": [*self.requests.values()]}

    async def watch(self, path: str, query: Mapping[str, str], idle_seconds: float) -> AsyncIterator[dict[str, Any]]:
        await asyncio.Event().wait()
        yield {}

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        folder, _, name = path.rpartition("/")
        found = (self.requests if folder == REQUESTS else self.nodes).get(name)
        if found is None:
            raise KubeError(404, "NotFound", path)
        return found

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.events.append(body)
        self.done.set()
        return body

    async def patch(self, path: str, body: dict[str, Any], kind: Any, query: Any = None) -> dict[str, Any]:
        if self.refusals:
            raise self.refusals.pop(0)
        name = path.removeprefix(f"{REQUESTS}/").removesuffix("/approval")
        assert body["metadata"]["resourceVersion"] == self.requests[name]["metadata"]["resourceVersion"]
        self.requests[name] = {**self.requests[name], "status": body["status"]}
        if body["status"]["conditions"][-1]["type"] == "Approved":
            self.done.set()
        return self.requests[name]


def decide(api: ClusterApi, later: dict[str, dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Run an approver until the request is decided; `later` are Nodes that come after a minute."""

    async def play() -> None:
        clock = LoopClock()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(Approver(api, clock=clock, random=Random(1)).run())
            if later:
                await clock.sleep(60)
                assert not api.done.is_set()
                api.nodes |= later
            await api.done.wait()
            running.cancel()

    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(play())
    finally:
        loop.close()
    conditions: list[dict[str, Any]] = api.requests["csr-1"]["status"]["conditions"]
    return conditions


def test_an_approval_becomes_a_condition() -> None:
    api = ClusterApi(request())
    api.nodes["n"] = NODE
    (condition,) = decide(api)
    assert (condition["type"], condition["status"], condition["reason"]) == ("Approved", "True", "AutoApproved")
    assert api.events == []


def test_a_denial_becomes_a_condition_and_an_event() -> None:
    api = ClusterApi(request(pem(x509.IPAddress(ipaddress.ip_address("10.0.0.1")))))
    api.nodes["n"] = NODE
    (condition,) = decide(api)
    assert condition["type"] == "Denied"
    assert "10.0.0.1" in condition["message"]
    (event,) = api.events
    assert (event["reason"], event["type"], event["involvedObject"]["name"]) == (
        "CertificateDenied",
        "Warning",
        "csr-1",
    )
    assert event["message"] == condition["message"]


def test_a_node_that_comes_later_is_approved_then() -> None:
    (condition,) = decide(ClusterApi(request()), {"n": NODE})
    assert condition["type"] == "Approved"


def test_a_conflict_is_judged_anew() -> None:
    api = ClusterApi(request())
    api.nodes["n"] = NODE
    api.refusals = [KubeError(409, "Conflict", ""), KubeError(0, "TimeoutError", "")]
    (condition,) = decide(api)
    assert condition["type"] == "Approved"


def test_a_decided_request_is_left_alone() -> None:
    denied = {**request(), "status": {"conditions": [{"type": "Denied", "status": "True"}]}}
    other = request()
    other["metadata"] = {**other["metadata"], "name": "csr-2"}
    api = ClusterApi(denied, other)
    api.nodes["n"] = NODE
    assert decide(api) == [{"type": "Denied", "status": "True"}]
