"""Events as the kubelet's recorder writes them: core v1, source `kubelet` and the node, counted on by PATCH.

Upstream: client-go v0.37 tools/record/event.go. `record` never waits: events have a queue and a task of their own, a
full queue drops the event with a line in the log, and status writes neither wait for them nor stand behind them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from provider.kube.client import KubeApi, KubeError
from provider.kube.event_correlator import Correlator, Event, Outcome
from provider.model.timestamps import rfc3339

if TYPE_CHECKING:
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock

Json = dict[str, Any]
log = structlog.get_logger(__name__)

QUEUED_EVENTS = 1000
TRIES = 12
RETRY_SECONDS = 10.0
NOT_FOUND = 404
SERVER_ERROR = 500
TOO_MANY = 429


def reference(item: Json, field_path: str = "", *, kind: str = "Pod", api_version: str = "v1") -> Json:
    """Return the involvedObject of an object as the API server sent it."""
    meta = item["metadata"]
    involved = {
        "apiVersion": api_version,
        "kind": kind,
        "name": meta["name"],
        "namespace": meta.get("namespace") or "",
        "uid": meta.get("uid") or "",
        "resourceVersion": meta.get("resourceVersion") or "",
        "fieldPath": field_path,
    }
    return {key: value for key, value in involved.items() if value}


class EventRecorder:
    """One source of events; run `run` as a task of a TaskGroup."""

    def __init__(self, api: KubeApi, node: str, *, clock: Clock, random: Random, component: str = "kubelet") -> None:
        """Take the client that may create events (the node's own), and the node's name as the source's host."""
        self._api = api
        self._host = node
        self._component = component
        self._clock = clock
        self._random = random
        self._correlator = Correlator()
        self._queue: asyncio.Queue[Event] = asyncio.Queue(QUEUED_EVENTS)
        self._last_stamp = 0

    def record(self, involved: Json, reason: str, message: str, *, warning: bool = False, at: float = 0) -> None:
        """Report something about an object (see `reference`); `at` in seconds since the epoch, 0: now."""
        kind = "Warning" if warning else "Normal"
        event = Event(involved=involved, kind=kind, reason=reason, message=message, at=at or self._clock.now())
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("event.dropped", node=self._host, object=involved.get("name"), reason=reason, message=message)

    async def run(self) -> None:
        """Send what is recorded until cancelled; an event that cannot be sent after two minutes is given up."""
        while True:
            outcome = self._correlator.correlate(await self._queue.get())
            if outcome is not None:
                await self._deliver(outcome)

    async def _deliver(self, outcome: Outcome) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                name = await self._send(outcome)
            except KubeError as error:
                if 0 < error.code < SERVER_ERROR and error.code != TOO_MANY:
                    # For example the namespace is terminating: asking again changes nothing.
                    log.info("event.refused", node=self._host, reason=outcome.event.reason, error=str(error))
                    return
                if attempt == TRIES:
                    log.warning("event.given_up", node=self._host, reason=outcome.event.reason, error=str(error))
                    return
                spread = self._random.random() if attempt == 1 else 1.0
                await self._clock.sleep(RETRY_SECONDS * spread)
            else:
                self._correlator.sent(outcome, name)
                return

    async def _send(self, outcome: Outcome) -> str:
        event = outcome.event
        path = f"/api/v1/namespaces/{event.involved.get('namespace') or 'default'}/events"
        if outcome.count > 1 and outcome.name:
            again: Json = {"count": outcome.count, "lastTimestamp": rfc3339(event.at), "message": event.message}
            try:
                await self._api.patch(f"{path}/{outcome.name}", again, "strategic")
            except KubeError as error:
                if error.code != NOT_FOUND:
                    raise
                # The API server forgets events after an hour: go on counting in a new one.
            else:
                return outcome.name
        body = self._body(outcome)
        await self._api.create(path, body)
        return str(body["metadata"]["name"])

    def _body(self, outcome: Outcome) -> Json:
        event = outcome.event
        # Names are made of the time in nanoseconds; two events of one moment must not share one.
        self._last_stamp = max(int(event.at * 1e9), self._last_stamp + 1)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{event.involved['name']}.{self._last_stamp:x}",
                "namespace": event.involved.get("namespace") or "default",
            },
            "involvedObject": event.involved,
            "reason": event.reason,
            "message": event.message,
            "type": event.kind,
            "count": outcome.count,
            "firstTimestamp": rfc3339(outcome.first_at),
            "lastTimestamp": rfc3339(event.at),
            "source": {"component": self._component, "host": self._host},
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
