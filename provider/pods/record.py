"""What the provider holds of one pod: the newest states of both sides, and what was tried. Nothing of it is truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import ValidationError, convert

from provider.model.pod import Container, Metadata, Pod, PodSpec, pod_from_json
from provider.model.pod_status import PodStatus
from provider.pods.reconcile import LEAST_GRACE, Desired, Observed, Refusal, Waiting, grace_of

if TYPE_CHECKING:
    from provider.model.ids import PodUid, ZoneId
    from provider.model.instance import Instance

Json = dict[str, Any]


class PodRecord:
    """One pod by UID; it lives as long as one of the two sides knows it."""

    __slots__ = (
        "_pod",
        "_pod_of",
        "absent",
        "draft",
        "failures",
        "instance",
        "lost",
        "raw",
        "refusal",
        "sent",
        "settled",
        "uid",
        "waiting",
    )

    def __init__(self, uid: PodUid) -> None:
        self.uid = uid
        self.raw: Json | None = None
        """The pod as the API server sent it last; stays when the pod is gone."""
        self.absent = False
        """The API server has said that the pod is gone; a UID never comes back."""
        self.instance: Instance | None = None
        self.lost = False
        self.refusal: Refusal | None = None
        self.waiting: Waiting | None = None
        self.draft: Json | None = None
        self.sent = False
        self.settled: tuple[Json, Json] | None = None
        self.failures = 0
        """in a row, of whatever was tried for this pod."""
        self._pod: Pod | None = None
        self._pod_of: Json | None = None

    @property
    def pod(self) -> Pod | None:
        """The typed pod, read once per state of it."""
        if self.raw is not self._pod_of:
            self._pod, self._pod_of = None if self.raw is None else readable(self.raw), self.raw
        return self._pod

    @property
    def terminating(self) -> bool:
        """Whether somebody has asked for the end of the pod, or it has gone already."""
        return self.absent or (self.raw is not None and self.raw["metadata"].get("deletionTimestamp") is not None)

    def desired(self, *, listed: bool) -> Desired:
        """Return the pod's side for `plan`."""
        pod, raw = self.pod, self.raw
        if pod is None or raw is None or self.absent:
            grace = LEAST_GRACE if pod is None else grace_of(pod)
            return Desired(listed=listed, absent=self.absent, grace=grace)
        return Desired(pod=pod, status=raw.get("status") or {}, listed=listed)

    def observed(self, zone: ZoneId, host_ips: tuple[str, ...], *, known: bool) -> Observed:
        """Return the cloud's side for `plan`."""
        return Observed(
            zone=zone,
            known=known,
            instance=self.instance,
            refusal=self.refusal,
            waiting=self.waiting,
            lost=self.lost,
            host_ips=host_ips,
            draft=self.draft,
            sent=self.sent,
            settled=self.settled,
        )

    def newest(self) -> Json | None:
        """Return the pod with the newest status, written or not; None for one that is gone."""
        if self.raw is None or self.absent:
            return None
        if self.draft is None:
            return self.raw
        return {**self.raw, "status": {**(self.raw.get("status") or {}), **self.draft}}


def readable(raw: Json) -> Pod:
    """Return the typed pod; of one that cannot be read (admission says why) what its status needs: names and images."""
    try:
        return pod_from_json(raw)
    except ValidationError:
        meta, spec = raw["metadata"], raw["spec"]
        return Pod(
            metadata=Metadata(
                name=meta["name"],
                namespace=meta["namespace"],
                uid=meta["uid"],
                resource_version=meta.get("resourceVersion") or "",
                generation=meta.get("generation") or 0,
                deletion_timestamp=meta.get("deletionTimestamp"),
                deletion_grace_period_seconds=meta.get("deletionGracePeriodSeconds"),
            ),
            spec=PodSpec(
                containers=_outlines(spec.get("containers")),
                init_containers=_outlines(spec.get("initContainers")),
            ),
            status=convert(raw.get("status") or {}, PodStatus),
        )


def _outlines(containers: list[Json] | None) -> list[Container]:
    return [Container(name=one["name"], image=str(one.get("image", ""))) for one in containers or ()]
