"""What systemd is asked for; that it does it is for a machine that has it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from provider.cloud.runtime.docker_engine.cgroups import Hierarchies, Limits
from provider.cloud.runtime.docker_engine.slices import Slices, on_host, run_command
from provider.model.ids import PodUid

UID = PodUid("4f1d-77")
CAP = Limits(cpu=1500, memory=2**34)


class Systemd:
    def __init__(self, refusal: str = "") -> None:
        self.asked: list[list[str]] = []
        self.refusal = refusal

    def __call__(self, command: Sequence[str]) -> str:
        self.asked.append([word for word in command if not word.startswith(("org.", "/org/"))])
        if self.refusal and "StartTransientUnit" in command:
            raise OSError(self.refusal)
        return ""


def test_slices_are_nested_by_their_names(tmp_path: Path) -> None:
    systemd = Systemd()
    slices = Slices("my-zl", CAP, Hierarchies({}, tmp_path), systemd)
    slices.ensure()
    slices.make(UID, Limits(cpu=4000, memory=2**30))
    assert slices.parent(UID) == "zonelet_my_zl-4f1d_77.slice"
    first, second = systemd.asked
    assert first[:5] == ["busctl", "call", "StartTransientUnit", "ssa(sv)a(sa(sv))", "zonelet_my_zl.slice"]
    assert first[5:] == ["fail", "2", "MemoryMax", "t", str(2**34), "CPUQuotaPerSecUSec", "t", "1500000", "0"]
    assert second[4] == "zonelet_my_zl-4f1d_77.slice"
    assert second[-10:] == [
        "MemoryMax",
        "t",
        str(2**30),
        "CPUQuotaPerSecUSec",
        "t",
        "1500000",
        "CPUWeight",
        "t",
        "157",
        "0",
    ]


def test_v1_has_other_names(tmp_path: Path) -> None:
    systemd = Systemd()
    Slices("zl", CAP, Hierarchies({"memory": tmp_path}), systemd).make(UID, Limits(cpu=1000, memory=5))
    words = systemd.asked[0]
    assert words[words.index("MemoryLimit") + 2] == "5"
    assert words[words.index("CPUShares") + 2] == "1024"


def test_one_that_is_there_gets_its_limits_again(tmp_path: Path) -> None:
    systemd = Systemd("Call failed: Unit zonelet_zl.slice already exists.")
    Slices("zl", CAP, Hierarchies({}, tmp_path), systemd).ensure()
    assert systemd.asked[-1][2:6] == ["SetUnitProperties", "sba(sv)", "zonelet_zl.slice", "true"]
    with pytest.raises(OSError, match="Access denied"):
        Slices("zl", CAP, Hierarchies({}, tmp_path), Systemd("Access denied")).ensure()


def test_a_slice_is_stopped_only_when_nothing_runs_in_it(tmp_path: Path) -> None:
    systemd = Systemd()
    slices = Slices("zl", CAP, Hierarchies({}, tmp_path), systemd)
    assert slices.remove(UID), "one that is not there is gone"
    child = tmp_path / "zonelet_zl.slice/zonelet_zl-4f1d_77.slice/docker-1.scope"
    child.mkdir(parents=True)
    (child.parent / "cgroup.procs").write_text("")
    (child / "cgroup.procs").write_text("77\n")
    assert slices.uids() == [UID]
    assert not slices.remove(UID)
    assert systemd.asked == []
    (child / "cgroup.procs").unlink()
    (child.parent / "cgroup.procs").unlink()
    (child.parent / "cgroup.procs").symlink_to("/dev/null")


def test_a_container_without_the_program_runs_the_hosts() -> None:
    assert on_host(["busctl", "call"], lambda _: None) == ["chroot", "/proc/1/root", "busctl", "call"]
    assert on_host(["busctl", "call"], lambda name: f"/usr/bin/{name}") == ["busctl", "call"]


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(OSError, match="cannot access"):
        run_command(["ls", "/no/such/thing"])
    assert run_command(["printf", "x"]) == "x"
