"""Would a pod be taken, at what size and price, and if not, why: everything that is known without a cluster. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, ValidationError

from provider.model.errors import Rejection
from provider.model.pod import pod_from_json
from provider.model.request import SOLD_MARKETS
from provider.translate.admission import REASON, admit
from provider.translate.host_daemons import REASON as DAEMON_REASON
from provider.translate.host_daemons import not_started
from provider.translate.instance_size import SizePlan, size_plan
from provider.translate.profile_rules import check_rules
from provider.translate.security import sysctls
from provider.translate.sizing import pod_limits
from provider.translate.volumes import host_path, mounted_volumes

if TYPE_CHECKING:
    from provider.model.profile import Profile

Json = dict[str, Any]


class Verdict(Struct, frozen=True, kw_only=True):
    """`reason` and `message` say why not; empty if the pod is taken. `price` is pay-as-you-go, micro-units an hour.

    `plan` is None for a pod that is refused before its size is looked at.
    """

    reason: str = ""
    message: str = ""
    plan: SizePlan | None = None
    price: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether the pod would become an instance, if the zone has stock."""
        return not self.reason


def verdict(raw: Json, profile: Profile, host_paths: tuple[str, ...] = ()) -> Verdict:
    """Return what a node of the profile does with a pod. ConfigMaps, stock and the like are not looked at."""
    plan: SizePlan | None = None
    try:
        pod = pod_from_json(raw)  # also makes sure that what follows finds the types that it expects
        daemon = not_started(raw)
        if daemon:
            return Verdict(reason=DAEMON_REASON, message=daemon)
        check_rules(raw, profile)
        admit(raw)
        pod_limits(pod.spec)
        sysctls(pod)
        for index, one in mounted_volumes(pod.spec):
            host_path(one, host_paths, f"spec.volumes[{index}]")
        plan = size_plan(pod, profile)
    except ValidationError as error:
        return Verdict(reason=REASON, message=f"the pod cannot be read: {error}")
    except Rejection as rejection:
        return Verdict(reason=rejection.reason, message=rejection.message, plan=plan)
    price = profile.price_per_hour(plan.sizes[0], plan.extra_disk)
    if plan.market not in SOLD_MARKETS:
        message = f"market: {plan.market} is not sold yet"
        return Verdict(reason="UnsupportedOperation", message=message, plan=plan, price=price)
    return Verdict(plan=plan, price=price)
