"""The local cluster's approver of kubelet serving certificates, a process of its own.

Upstream's controller manager approves nodes' client certificates only: a serving certificate states addresses, and no
part of Kubernetes knows whether they are the node's. Here they are, when the Node object says so. Asked for by anybody
but the node itself, or for anything but its own name and addresses, a request is denied with the reason in its
condition, in an event and in the log. Rules: `pkg/apis/certificates/helpers.go` ValidateKubeletServingCSR and
https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/ ("approve only …").

Run it: `python -m provider.cluster.approver --kubeconfig FILE [--ready-file FILE]`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import signal
from pathlib import Path
from random import Random  # noqa: TID251 - this program's own composition root
from typing import TYPE_CHECKING, Any, Literal

import structlog
from cryptography import x509
from cryptography.x509.oid import NameOID
from msgspec import Struct

from provider.clock import SystemClock
from provider.kube.client import HttpKubeApi, KubeApi, KubeError
from provider.kube.reflector import Reflector
from provider.node.shape import rfc3339
from provider.observability.logging import configure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provider.clock import Clock
    from provider.kube.store import Change

Json = dict[str, Any]

log = structlog.get_logger(__name__)

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "kubernetes.io/kubelet-serving"
NODE_USER = "system:node:"
NODE_GROUP = "system:nodes"
USAGES = ({"digital signature", "server auth"}, {"digital signature", "key encipherment", "server auth"})
"""Exactly one of these; keys that are not RSA have no key encipherment."""
UNDECIDED_SECONDS = 2.0
NOT_FOUND = 404


class Verdict(Struct, frozen=True):
    """What becomes of a request: approve it, deny it for good, or look again later; and why."""

    decision: Literal["approve", "deny", "wait"]
    message: str


class _DeniedError(Exception):
    """The request breaks a rule; the text says which."""


def judge(request: Mapping[str, Any], node: Mapping[str, Any] | None) -> Verdict:
    """Return what becomes of a CertificateSigningRequest of the kubelet-serving signer; `node` is its Node, if any."""
    try:
        name = _requesting_node(request["spec"])
        addresses = _requested_addresses(request["spec"], name)
        if node is None:
            return Verdict("wait", f"there is no Node {name} yet")
        status = node.get("status") or {}
        known = {each["address"] for each in status.get("addresses") or () if each["type"] == "InternalIP"}
        if foreign := [each for each in addresses if each not in known]:
            return Verdict("deny", f"the addresses {foreign} are no InternalIP of the Node {name} ({sorted(known)})")
    except _DeniedError as denied:
        return Verdict("deny", str(denied))
    return Verdict("approve", f"asked for by the node {name} itself, for its own name and addresses")


def _requesting_node(spec: Mapping[str, Any]) -> str:
    """Return the name of the node that asks; its identity is what the API server wrote into the request."""
    user = spec.get("username", "")
    name: str = user.removeprefix(NODE_USER)
    if not user.startswith(NODE_USER) or not name or NODE_GROUP not in (spec.get("groups") or ()):
        raise _DeniedError(f"asked for by {user or 'nobody'}, which is no node (system:node:<name> in {NODE_GROUP})")
    return name


def _requested_addresses(spec: Mapping[str, Any], name: str) -> list[str]:
    """Return the addresses that are asked for, everything else in the request checked."""
    usages = spec.get("usages") or ()
    if set(usages) not in USAGES:
        raise _DeniedError(f"the usages {sorted(usages)} are not those of a serving certificate")
    try:
        asked = x509.load_pem_x509_csr(base64.b64decode(spec["request"], validate=True))
        alternative = _alternative_names(asked)
    except (ValueError, binascii.Error) as error:
        raise _DeniedError(f"the request cannot be read: {error}") from error
    if not asked.is_signature_valid:
        raise _DeniedError("the request is not signed by its own key")
    subject = {NameOID.COMMON_NAME: NODE_USER + name, NameOID.ORGANIZATION_NAME: NODE_GROUP}
    if len(list(asked.subject)) != len(subject) or {part.oid: part.value for part in asked.subject} != subject:
        found = asked.subject.rfc4514_string()
        raise _DeniedError(f"the subject {found} is not CN={NODE_USER}{name},O={NODE_GROUP}")
    if not alternative:
        raise _DeniedError("neither a DNS name nor an address is asked for")
    if foreign := [each.value for each in alternative if isinstance(each, x509.DNSName) and each.value != name]:
        raise _DeniedError(f"the DNS names {foreign} are not the node's name {name}")
    if others := [type(each).__name__ for each in alternative if not isinstance(each, x509.DNSName | x509.IPAddress)]:
        raise _DeniedError(f"names of the kinds {others} are asked for; only DNS names and addresses are allowed")
    return [str(each.value) for each in alternative if isinstance(each, x509.IPAddress)]


def _alternative_names(asked: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


class Approver:
    """Judges every undecided request of the signer, and tells the verdict to the API server."""

    def __init__(self, api: KubeApi, *, clock: Clock, random: Random) -> None:
        """Take a client that may approve for the signer and read nodes."""
        self._api = api
        self._clock = clock
        self._reflector = Reflector(
            api, REQUESTS, {"fieldSelector": f"spec.signerName={SIGNER}"}, self._seen, clock=clock, random=random
        )
        self._waiting: dict[str, str] = {}
        """Name of a request that must wait -> why; looked at again in intervals."""
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Judge until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reflector.run())
            group.create_task(self._look_again())

    async def _seen(self, change: Change) -> None:
        name = change.new["metadata"]["name"]
        if change.kind == "deleted" or _decided(change.new):
            self._waiting.pop(name, None)
            return
        await self._decide(change.new)

    async def _look_again(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._waiting:
                await self._clock.sleep(UNDECIDED_SECONDS)
                for name in list(self._waiting):
                    await self._read_and_decide(name)

    async def _read_and_decide(self, name: str) -> None:
        try:
            request = await self._api.get(f"{REQUESTS}/{name}")
        except KubeError as error:
            if error.code == NOT_FOUND:
                self._waiting.pop(name, None)
            return
        if _decided(request):
            self._waiting.pop(name, None)
        else:
            await self._decide(request)

    async def _decide(self, request: Json) -> None:
        name = request["metadata"]["name"]
        try:
            verdict = judge(request, await self._node(request["spec"].get("username", "")))
            if verdict.decision != "wait":
                await self._tell(request, verdict)
        except KubeError as error:
            verdict = Verdict("wait", str(error))
        if verdict.decision == "wait":
            if self._waiting.get(name) != verdict.message:
                log.info("request.waits", request=name, why=verdict.message)
            self._waiting[name] = verdict.message
            self._woken.set()
            return
        self._waiting.pop(name, None)
        log.info("request.decided", request=name, verdict=verdict.decision, why=verdict.message)

    async def _node(self, user: str) -> Json | None:
        """Return the Node as it is now, not as a cache had it: its addresses decide."""
        name = user.removeprefix(NODE_USER)
        if not user.startswith(NODE_USER) or not name or "/" in name:
            return None
        try:
            return await self._api.get(f"/api/v1/nodes/{name}")
        except KubeError as error:
            if error.code == NOT_FOUND:
                return None
            raise

    async def _tell(self, request: Json, verdict: Verdict) -> None:
        approved = verdict.decision == "approve"
        condition = {
            "type": "Approved" if approved else "Denied",
            "status": "True",
            "reason": "AutoApproved" if approved else "NotTheNodesOwn",
            "message": verdict.message,
            "lastUpdateTime": rfc3339(self._clock.now()),
        }
        before = (request.get("status") or {}).get("conditions") or []
        # The version makes the verdict one about exactly what was judged.
        body = {
            "metadata": {"resourceVersion": request["metadata"]["resourceVersion"]},
            "status": {"conditions": [*before, condition]},
        }
        await self._api.patch(f"{REQUESTS}/{request['metadata']['name']}/approval", body, "merge")
        if not approved:
            await self._event(request, condition)

    async def _event(self, request: Json, condition: Mapping[str, str]) -> None:
        metadata = request["metadata"]
        reference = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": "default"},
            "involvedObject": reference,
            "type": "Warning",
            "reason": "CertificateDenied",
            "message": condition["message"],
            "source": {"component": "zonelet-approver"},
            "firstTimestamp": condition["lastUpdateTime"],
            "lastTimestamp": condition["lastUpdateTime"],
            "count": 1,
        }
        try:
            await self._api.create("/api/v1/namespaces/default/events", event)
        except KubeError as error:
            log.warning("event.failed", request=metadata["name"], error=str(error))


def _decided(request: Mapping[str, Any]) -> bool:
    conditions = (request.get("status") or {}).get("conditions") or ()
    return any(each["type"] in {"Approved", "Denied", "Failed"} for each in conditions)


async def _serve(kubeconfig: str, ready: Callable[[], None]) -> None:
    api = await HttpKubeApi.from_kubeconfig(kubeconfig)
    approver = asyncio.current_task()
    if approver is None:
        raise RuntimeError("not inside a task")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, approver.cancel)
    ready()
    log.info("approver.started", server=api.connection.server)
    try:
        await Approver(api, clock=SystemClock(), random=Random()).run()  # noqa: S311 - jitter of back-offs
    except asyncio.CancelledError:
        log.info("approver.ended")
    finally:
        await api.close()


def main() -> None:
    """Run the approver until SIGTERM."""
    parser = argparse.ArgumentParser(description="Approve kubelet serving certificates after checking whose they are.")
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--ready-file", type=Path, help="a file that is made once the approver runs")
    options = parser.parse_args()
    configure()
    ready = options.ready_file.touch if options.ready_file else lambda: None
    asyncio.run(_serve(options.kubeconfig, ready))


if __name__ == "__main__":
    main()
