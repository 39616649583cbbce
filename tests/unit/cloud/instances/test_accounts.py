"""The ledger under any order of begins, ends, crashes and writes that fail: no charge is lost, doubled or changed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from provider.cloud.instances.accounts import Accounts, usage_since
from provider.cloud.instances.journal import Journal
from provider.model.bill import Outcome, UsageRecord, whole_seconds
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus, Instance, InstancePhase
from provider.model.profile import Prices, Profile
from provider.model.request import ContainerSpec, InstanceRequest, RestartPolicy

if TYPE_CHECKING:
    from provider.cloud.instances.entry import Entry

PROFILE = Profile(name="p", currency="CNY", prices=Prices(cpu=1_000, memory=0))
PICKS = st.integers(0, 11)
"""which of those that there are."""


class Machine:
    """As much of an instance as the ledger looks at."""

    def __init__(self, uid: PodUid) -> None:
        self.request = InstanceRequest(
            uid=uid, zone=ZoneId("z"), name=f"pod-{uid}", namespace="n", cpu=2_000,
            containers=(ContainerSpec(name="main", image="i"),), restart_policy=RestartPolicy.NEVER,
        )  # fmt: skip
        self.shown = Instance(
            uid=uid, id=InstanceId(f"eci-{uid}"), zone=ZoneId("z"), name=f"pod-{uid}", namespace="n",
            containers=(ContainerStatus(name="main"),),
        )  # fmt: skip

    def instance(self) -> Instance:
        return self.shown

    def begin(self, now: float) -> None:
        self.shown = msgspec.structs.replace(self.shown, phase=InstancePhase.PENDING, sandbox_ready_at=now)

    def give_up(self, now: float) -> None:
        """Be deleted while the image is still being pulled: the end is when that is written."""
        self.shown = msgspec.structs.replace(self.shown, phase=InstancePhase.FAILED, deletion_requested_at=now)

    def end(self, now: float, code: int) -> None:
        state = ContainerState(phase=ContainerPhase.TERMINATED, finished_at=now, exit_code=code)
        phase = InstancePhase.FAILED if code else InstancePhase.SUCCEEDED
        status = ContainerStatus(name="main", state=state)
        self.shown = msgspec.structs.replace(self.shown, phase=phase, containers=(status,))


def entry_of(machine: Machine) -> Entry:
    return cast("Entry", SimpleNamespace(uid=machine.request.uid, machine=machine))


class Ledger(RuleBasedStateMachine):
    """A model: for each instance, when it began and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "j.db"
        self.now = 100.0
        self.machines: dict[PodUid, Machine] = {}
        self.begun: dict[PodUid, float] = {}
        self.over: dict[PodUid, tuple[float, Outcome]] = {}
        self.open()

    def open(self) -> None:
        self.journal = Journal(self.path)
        self.accounts = Accounts(self.journal, PROFILE)

    def teardown(self) -> None:
        self.journal.close()
        self.directory.cleanup()

    def save(self, uid: PodUid) -> None:
        self.accounts.save(entry_of(self.machines[uid]), b"%f" % self.now, self.now)

    @property
    def running(self) -> list[PodUid]:
        return [uid for uid in self.begun if uid not in self.over]

    @initialize()
    def first(self) -> None:
        self.begin()

    @rule()
    def begin(self) -> None:
        uid = PodUid(f"u{len(self.begun)}")
        machine = self.machines[uid] = Machine(uid)
        self.journal.accept(machine.request, b"{}")
        self.save(uid)
        machine.begin(self.now)
        self.begun[uid] = self.now
        self.save(uid)

    @rule(seconds=st.floats(0.001, 100))
    def passes(self, seconds: float) -> None:
        """Time passes, and something of each row changes that has to do with no charge."""
        self.now = round(self.now + seconds, 3)
        for uid in self.machines:
            self.save(uid)

    @precondition(lambda self: self.running)
    @rule(pick=PICKS, code=st.sampled_from([0, 1, None]), tries=st.integers(0, 2), crash=st.booleans())
    def end(self, pick: int, code: int | None, tries: int, crash: bool) -> None:
        """It ends; writing that down fails so often, then perhaps the process dies before it is written."""
        uid = self.running[pick % len(self.running)]
        self.now = round(self.now + 0.5, 3)
        if code is None:
            self.machines[uid].give_up(self.now)
        else:
            self.machines[uid].end(self.now, code)
            self.over[uid] = self.now, Outcome.FAILED if code else Outcome.SUCCEEDED
        row = self.journal.records()[uid].state
        for _ in range(tries):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(self.journal, "store_usage", self.full)
                with pytest.raises(CloudError):
                    self.save(uid)
            assert self.journal.records()[uid].state == row, "the state must not be ahead of the ledger"
            self.now += 5
        if crash:
            self.crash()
        if code is None:
            self.over[uid] = self.now, Outcome.STOPPED
        self.save(uid)

    @staticmethod
    def full(*_: Any) -> None:
        raise CloudError(CloudCode.UNAVAILABLE, "the disk is full", 5)

    @rule()
    def crash(self) -> None:
        self.journal.close()
        self.open()
        self.accounts.settle(self.machines, self.now)

    @precondition(lambda self: self.over.keys() & self.machines.keys())
    @rule(pick=PICKS)
    def forget(self, pick: int) -> None:
        ended = sorted(self.over.keys() & self.machines.keys())
        uid = ended[pick % len(ended)]
        del self.machines[uid]
        self.journal.forget(uid)

    @invariant()
    def each_attempt_stands_there_once_as_it_was(self) -> None:
        found: list[UsageRecord] = usage_since(self.journal, None, self.now)
        assert sorted(one.uid for one in found) == sorted(self.begun)
        for one in found:
            end, outcome = self.over.get(one.uid, (None, Outcome.RUNNING))
            assert (one.started_at, one.ended_at, one.outcome) == (self.begun[one.uid], end, outcome)
            assert one.seconds == whole_seconds(one.started_at, self.now if end is None else end)
            assert one.charge == 2_000 * one.seconds >= 0


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


def test_an_instance_that_is_lost_costs_no_longer(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        machine = Machine(PodUid("a"))
        journal.accept(machine.request, b"{}")
        machine.begin(10.0)
        Accounts(journal, PROFILE).save(entry_of(machine), b"row", 10.0)
        Accounts(journal, PROFILE).settle({}, 14.5)
        for now in (20.0, 30.0):
            (record,) = usage_since(journal, None, now)
            assert (record.ended_at, record.seconds, record.outcome) == (14.5, 5, Outcome.FAILED)


def test_a_record_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        journal.store_usage(PodUid("a"), 1.0, None, b"{")
        assert usage_since(journal, None, 5.0) == []
        Accounts(journal, PROFILE)
