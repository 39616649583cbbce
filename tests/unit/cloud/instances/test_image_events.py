"""What is told of an image on its way to a container (pkg/kubelet/images/image_manager.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cloud.instances.acts import Acts
from provider.cloud.instances.events import Faulted, ImageReady, Stage
from provider.cloud.instances.instructions import EnsureImage
from provider.cloud.runtime.base import FaultKind, Image, RuntimeFault
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.model.ids import PodUid, ZoneId
from provider.model.request import ContainerSpec, InstanceRequest, PullPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provider.cloud.instances.events import Event
    from provider.model.instance import Notice
    from provider.model.request import RegistryCredential


class OneImage(SimulatedRuntime):
    """A runtime whose registry answers always the same."""

    def __init__(self, answer: Image | RuntimeFault, *, asks: bool) -> None:
        super().__init__(SystemClock())
        self.answer = answer
        self.asks = asks

    async def ensure_image(
        self,
        image: str,
        policy: PullPolicy,
        credentials: Sequence[RegistryCredential],
        pulling: Callable[[], None] | None = None,
    ) -> Image:
        if self.asks and pulling is not None:
            pulling()
        if isinstance(self.answer, RuntimeFault):
            raise self.answer
        return self.answer


async def told(answer: Image | RuntimeFault, *, asks: bool) -> tuple[Event, list[tuple[str, str, bool]]]:
    notices: list[Notice] = []
    acts = Acts(OneImage(answer, asks=asks), SystemClock(), notices.append)
    spec = ContainerSpec(name="a", image="shop/app:1")
    request = InstanceRequest(uid=PodUid("u"), zone=ZoneId("z"), name="p", namespace="n", containers=(spec,))
    event = await acts.guarded(Stage.IMAGE, "a", acts.ensure_image(request, EnsureImage("a")))
    return event, [(one.reason, one.message, one.warning) for one in notices]


PULLING = ("Pulling", 'Pulling image "shop/app:1"', False)


async def test_an_image_that_is_there() -> None:
    event, notices = await told(Image(id="i", digest="d"), asks=False)
    assert event == ImageReady("a", "i", "d")
    text = 'Container image "shop/app:1" already present on machine and can be accessed by the pod'
    assert notices == [("Pulled", text, False)]


async def test_an_image_that_was_pulled() -> None:
    image = Image(id="i", digest="d", pulled=True, seconds=1.25, size=4_321)
    _, notices = await told(image, asks=True)
    text = 'Successfully pulled image "shop/app:1" in 1.25s (1.25s including waiting). Image size: 4321 bytes.'
    assert notices == [PULLING, ("Pulled", text, False)]


async def test_a_local_image_that_had_to_do() -> None:
    _, notices = await told(Image(id="i", digest="d", note="no way to the registry"), asks=True)
    text = 'Container image "shop/app:1" already present on machine: no way to the registry'
    assert notices == [PULLING, ("Pulled", text, False)]


@pytest.mark.parametrize(
    ("kind", "asks", "reason", "text"),
    [
        (FaultKind.IMAGE_PULL, True, "Failed", 'Failed to pull image "shop/app:1": because'),
        (FaultKind.IMAGE_NEVER_PULL, False, "ErrImageNeverPull", "because"),
        (FaultKind.INVALID_IMAGE_NAME, False, "InspectFailed", "because"),
        (FaultKind.IMAGE_INSPECT, False, "InspectFailed", "because"),
    ],
)
async def test_an_image_that_cannot_be_had(kind: FaultKind, asks: bool, reason: str, text: str) -> None:
    event, notices = await told(RuntimeFault(kind, "because"), asks=asks)
    assert isinstance(event, Faulted)
    assert (event.reason, event.message) == (kind, "because")
    assert notices == [*([PULLING] if asks else []), (reason, text, True)]


async def test_an_engine_that_is_away_is_told_by_the_machine() -> None:
    event, notices = await told(RuntimeFault(FaultKind.UNAVAILABLE, "away"), asks=False)
    assert isinstance(event, Faulted)
    assert notices == []
