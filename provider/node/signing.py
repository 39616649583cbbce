"""Asks the cluster for a certificate: a CertificateSigningRequest, and the wait until somebody approves and signs it.

Unlike client-go's, the request's name is a function of its content and its key is kept while it waits: after a restart
the provider waits for the same object, and the command that approves it stays the one that was logged.
"""

from __future__ import annotations

import base64
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog

from provider.kube.client import KubeApi, KubeError
from provider.node.certificate import (
    Certificate,
    CertificateFile,
    KeyAndRequest,
    Wanted,
    make_request,
    read_certificate,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from provider.clock import Clock

Json = dict[str, Any]

log = structlog.get_logger(__name__)

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
NODE_NAME_LENGTH = 200
"""Of a node's name at most so much stands in its requests' names, which may have 253 characters."""
WATCH_SECONDS = 60
"""The server ends a watch after this: one of a single object that nobody touches is silent, and so is a dead way."""
IDLE_GRACE_SECONDS = 15.0
RETRY_SECONDS = 2.0
UNAPPROVED_SECONDS = 10
"""An automatic approver answers within this; after it people are told what to do."""
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.BAD_REQUEST)


class SigningRefusedError(Exception):
    """The request was denied, or the signer could not answer it: the next one must be another one."""


class SigningPendingError(Exception):
    """Nobody has approved the request in time; the text names the command that does. It goes on waiting."""


async def obtain(
    api: KubeApi,
    wanted: Wanted,
    file: CertificateFile,
    *,
    clock: Clock,
    seconds: float | None = None,
    told: Callable[[str], Awaitable[None]] | None = None,
) -> Certificate:
    """Return a new certificate, stored in `file`; wait `seconds` for it (None: as long as it takes).

    `told` gets the advice for people once nobody has approved for a while. An API server that is away is waited for.
    Raises SigningRefusedError, SigningPendingError, and KubeError where `api` may not ask for this certificate.
    """
    asked = file.pending(wanted)
    if asked is None:
        asked = make_request(wanted)
        file.save_pending(asked)
    name = request_name(wanted, asked)
    deadline = None if seconds is None else clock.now() + seconds
    try:
        pem = await _Request(api, wanted, asked, clock, told).signed(deadline)
    except SigningRefusedError:
        file.drop_pending()
        raise
    certificate = read_certificate(pem, asked.key)
    file.save(certificate)
    log.info("certificate.issued", node=wanted.node, kind=wanted.kind, request=name)
    return certificate


def request_name(wanted: Wanted, asked: KeyAndRequest) -> str:
    """Return the name of the CertificateSigningRequest."""
    return f"{wanted.node[:NODE_NAME_LENGTH]}-{wanted.kind}-{asked.digest}"


def issued(request: Mapping[str, Any]) -> bytes | None:
    """Return the certificate in a CertificateSigningRequest, None as long as there is none; SigningRefusedError."""
    status = request.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] in {"Denied", "Failed"}:
            raise SigningRefusedError(
                f"the request {request['metadata']['name']} is {condition['type'].lower()}: "
                f"{condition.get('reason', '')}: {condition.get('message', '')}"
            )
    certificate = status.get("certificate")
    return base64.b64decode(certificate) if certificate else None


class _Request:
    """One request, from its creation to its end."""

    def __init__(
        self,
        api: KubeApi,
        wanted: Wanted,
        asked: KeyAndRequest,
        clock: Clock,
        told: Callable[[str], Awaitable[None]] | None,
    ) -> None:
        self._api = api
        self._wanted = wanted
        self._asked = asked
        self._clock = clock
        self._told = told
        self._name = request_name(wanted, asked)
        self._began = clock.now()

    async def signed(self, deadline: float | None) -> bytes:
        """Return the certificate's PEM."""
        while True:
            try:
                found = await self._current()
                pem = issued(found)
                if pem is None:
                    pem = await self._watch(found["metadata"]["resourceVersion"], self._window(deadline))
                if pem is not None:
                    return pem
            except KubeError as error:
                if error.code in REFUSED:
                    raise
                log.warning("certificate.request_failed", request=self._name, error=str(error))
                await self._clock.sleep(error.retry_after or RETRY_SECONDS)
            if deadline is not None and self._clock.now() >= deadline:
                raise SigningPendingError(
                    f"no {self._wanted.kind} certificate for the node {self._wanted.node} yet: {self._advice()}"
                )
            if self._told is not None and self._clock.now() - self._began >= UNAPPROVED_SECONDS:
                await self._told(self._advice())
                self._told = None

    def _advice(self) -> str:
        return (
            f"nobody has approved the request {self._name}; look at it (kubectl describe csr {self._name}), "
            f"then run: kubectl certificate approve {self._name}"
        )

    def _window(self, deadline: float | None) -> int:
        seconds = WATCH_SECONDS if self._told is None else UNAPPROVED_SECONDS
        left = seconds if deadline is None else min(seconds, deadline - self._clock.now())
        return max(1, int(left))

    async def _current(self) -> Json:
        """Return the object, made anew when it is not there: undecided ones are removed after a day."""
        try:
            found = await self._api.get(f"{REQUESTS}/{self._name}")
        except KubeError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            found = await self._create()
        encoded = base64.b64encode(self._asked.request).decode()
        if (found["spec"]["request"], found["spec"]["signerName"]) != (encoded, self._wanted.signer):
            raise SigningRefusedError(f"the request {self._name} is there already and asks for something else")
        return found

    async def _create(self) -> Json:
        body = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": self._name},
            "spec": {
                "request": base64.b64encode(self._asked.request).decode(),
                "signerName": self._wanted.signer,
                "usages": self._wanted.usages,
            },
        }
        made = await self._api.create(REQUESTS, body)
        log.info("certificate.requested", node=self._wanted.node, kind=self._wanted.kind, request=self._name)
        return made

    async def _watch(self, version: str, seconds: int) -> bytes | None:
        query = {
            "fieldSelector": f"metadata.name={self._name}",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        async with aclosing(self._api.watch(REQUESTS, query, seconds + IDLE_GRACE_SECONDS)) as lines:
            async for line in lines:
                if line["type"] in {"DELETED", "ERROR"}:
                    return None  # read it again, or make it again
                pem = issued(line["object"])
                if pem is not None:
                    return pem
        return None
