"""An API server in memory: objects with versions, watches that deliver what comes, and a signer of certificates.

Times come from the clock, so that under looptime weeks of renewals pass in no time (not years: beyond 97 days of loop
time asyncio's timers, due by a nanosecond, drown in the float).
"""

from __future__ import annotations

import asyncio
import base64
import copy
import datetime as dt
from typing import TYPE_CHECKING, Any

import looptime
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provider.kube.client import KubeError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping

    from provider.clock import Clock

Json = dict[str, Any]

CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
DAY = 86_400.0


def run(play: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a loop whose time is made of sleeps."""
    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(play, 90 * DAY))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class FakeCluster:
    """KubeApi over a dictionary. `approve` decides about new signing requests: True, False (deny) or None (wait)."""

    def __init__(self, clock: Clock, approve: Callable[[Json], bool | None] = lambda _: True) -> None:
        self.clock = clock
        self.approve = approve
        self.lifetime = DAY
        self.objects: dict[str, Json] = {}
        self.calls: list[tuple[str, str]] = []
        self.bodies: list[Json] = []
        self.down: list[KubeError] = []
        """Raised, one by one, by the next calls."""
        self._version = 0
        self._history: list[tuple[int, str, str, Json]] = []
        self._news = asyncio.Event()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = _authority(self.key, clock.now())

    # -- KubeApi

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        self._called("get", path)
        return copy.deepcopy(self._held(path))

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        self._called("list", path)
        name = (query or {}).get("fieldSelector", "").removeprefix("metadata.name=")
        items = [each for at, each in self.objects.items() if at == f"{path}/{name}"]
        return {"metadata": {"resourceVersion": str(self._version)}, "items": copy.deepcopy(items)}

    async def create(self, path: str, body: Json) -> Json:
        self._called("create", path, body)
        made = copy.deepcopy(body)
        meta = made.setdefault("metadata", {})
        meta.setdefault("name", f"{meta.get('generateName', '')}{self._version}")
        at = f"{path}/{meta['name']}"
        if at in self.objects:
            raise KubeError(409, "AlreadyExists", at)
        meta["uid"] = f"uid-{self._version + 1}"
        self._put(at, made, "ADDED")
        if path == CSRS:
            self.decide(meta["name"], self.approve(made))
        return copy.deepcopy(made)

    async def patch(self, path: str, body: Json, kind: str, query: Mapping[str, str] | None = None) -> Json:
        self._called(kind, path, body)
        at = path.removesuffix("/status")
        held = self._held(at)
        version = body.get("metadata", {}).get("resourceVersion")
        if version is not None and version != held["metadata"]["resourceVersion"]:
            raise KubeError(409, "Conflict", at)
        merged = _merge(held, body, strategic=kind == "strategic")
        if merged != held:
            self._put(at, merged, "MODIFIED")
        return copy.deepcopy(merged)

    async def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
    ) -> Json:
        self._called("delete", path)
        held = self._held(path)
        if uid not in (None, held["metadata"]["uid"]):
            raise KubeError(409, "Conflict", path)
        self.remove(path)
        return held

    async def watch(self, path: str, query: Mapping[str, str], idle_seconds: float) -> AsyncGenerator[Json, None]:
        self._called("watch", path)
        name = query["fieldSelector"].removeprefix("metadata.name=")
        version = int(query["resourceVersion"])
        deadline = self.clock.now() + int(query["timeoutSeconds"])
        while True:
            for at, kind, where, item in list(self._history):
                if at > version and where == f"{path}/{name}":
                    version = at
                    yield {"type": kind, "object": copy.deepcopy(item)}
            left = deadline - self.clock.now()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                return

    # -- what the tests do to it

    def edit(self, path: str, change: Callable[[Json], None]) -> None:
        item = copy.deepcopy(self.objects[path])
        change(item)
        self._put(path, item, "MODIFIED")

    def remove(self, path: str) -> None:
        item = self.objects.pop(path)
        self._tell(path, item, "DELETED")

    def decide(self, name: str, verdict: bool | None) -> None:
        if verdict is None:
            return
        kind = "Approved" if verdict else "Denied"

        def change(item: Json) -> None:
            status = item.setdefault("status", {})
            status["conditions"] = [{"type": kind, "status": "True", "reason": "Test", "message": "because"}]
            if verdict:
                status["certificate"] = base64.b64encode(self.sign(item)).decode()

        self.edit(f"{CSRS}/{name}", change)

    def sign(self, request: Json) -> bytes:
        asked = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
        serving = request["spec"]["signerName"] == "kubernetes.io/kubelet-serving"
        usage = ExtendedKeyUsageOID.SERVER_AUTH if serving else ExtendedKeyUsageOID.CLIENT_AUTH
        now = self.clock.now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(asked.subject)
            .issuer_name(self.ca.subject)
            .public_key(asked.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_time(now))
            .not_valid_after(_time(now + self.lifetime))
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        for extension in asked.extensions:
            builder = builder.add_extension(extension.value, critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @property
    def ca_pem(self) -> bytes:
        return self.ca.public_bytes(serialization.Encoding.PEM)

    def requests(self) -> list[Json]:
        return [each for at, each in self.objects.items() if at.startswith(f"{CSRS}/")]

    def events(self) -> list[Json]:
        return [each for at, each in self.objects.items() if "/events/" in at]

    # -- inside

    def _called(self, verb: str, path: str, body: Json | None = None) -> None:
        self.calls.append((verb, path))
        self.bodies.append(copy.deepcopy(body or {}))
        if self.down:
            raise self.down.pop(0)

    def _held(self, path: str) -> Json:
        if path not in self.objects:
            raise KubeError(404, "NotFound", path)
        return self.objects[path]

    def _put(self, path: str, item: Json, kind: str) -> None:
        self.objects[path] = item
        self._tell(path, item, kind)

    def _tell(self, path: str, item: Json, kind: str) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        self._history.append((self._version, kind, path, copy.deepcopy(item)))
        self._news.set()
        self._news = asyncio.Event()


def _merge(old: Any, patch: Any, *, strategic: bool) -> Any:
    if not isinstance(patch, dict) or not isinstance(old, dict):
        return copy.deepcopy(patch)
    merged = copy.deepcopy(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif strategic and key == "conditions":
            named = {each["type"]: each for each in merged.get(key, [])}
            merged[key] = [*{**named, **{each["type"]: each for each in value}}.values()]
        elif strategic and key == "addresses":
            assert {"$patch": "replace"} in value
            merged[key] = [each for each in value if "$patch" not in each]
        else:
            merged[key] = _merge(merged.get(key, {}), value, strategic=strategic)
    return merged


def _authority(key: ec.EllipticCurvePrivateKey, now: float) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_time(now - 1))
        .not_valid_after(_time(now + 100 * 365 * DAY))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _time(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(seconds), tz=dt.UTC)
