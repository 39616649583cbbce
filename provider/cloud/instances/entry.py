"""What the supervisor keeps of one instance beside its machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provider.cloud.instances.machine import InstanceMachine
    from provider.model.ids import PodUid
    from provider.model.instance import Instance


class Entry:
    """One instance: its machine, the newest row and description, and what is under way for it."""

    __slots__ = (
        "acts",
        "acts_changed",
        "crashed_at",
        "crashes",
        "forgetting",
        "instance",
        "look_again",
        "looking",
        "machine",
        "mended",
        "order",
        "row",
        "uid",
        "written",
    )

    def __init__(self, machine: InstanceMachine, order: int, row: bytes) -> None:
        self.machine = machine
        self.uid: PodUid = machine.request.uid
        self.order = order
        """the rank among those that start."""
        self.row = row
        """the state as it stands in the journal."""
        self.instance: Instance = machine.instance()
        self.acts = 0
        """starts and sandbox acts that the runtime is doing now: until they end, what is seen may be half done."""
        self.acts_changed = 0
        """the supervisor's count of acts when one of this instance began or ended last."""
        self.looking = False
        self.look_again = False
        self.forgetting = False
        self.crashes = 0
        """how often in a row its work broke; `crashed_at`: when last."""
        self.crashed_at = 0.0
        self.mended = False
        """it went back to its row, and was not looked at since."""
        self.written: set[str] = set()
        """the volumes whose files are known to be on disk as the request has them."""
