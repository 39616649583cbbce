"""What was written is there after the process died; what was used up stays used up."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from provider.cloud.instances.journal import _VERSIONS, SCHEMA_VERSION, Journal
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid, ZoneId
from provider.model.request import ContainerSpec, InstanceRequest
from provider.model.volume import EmptyDirVolume, FileEntry, FilesVolume


def request(uid: str = "u1", image: str = "busybox") -> InstanceRequest:
    return InstanceRequest(
        uid=PodUid(uid),
        zone=ZoneId("zone-a"),
        name="pod",
        namespace="default",
        containers=(ContainerSpec(name="main", image=image, command=("sh", "-c", "true")),),
        volumes=(EmptyDirVolume("scratch"), FilesVolume("config", (FileEntry("a", b"\x00\xff", 0o600),))),
    )


def fail_half_way(journal: Journal) -> None:
    with journal.transaction():
        journal.accept(request(), b"{}")
        journal.store_setting("cidr", b"x")
        journal.save(PodUid("unknown"), b"")


def test_a_request_comes_back_as_it_was(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        assert journal.accept(request(), b"{}")
    with Journal(tmp_path / "j.db") as journal:
        record = journal.records()[PodUid("u1")]
    assert record.request == request()
    assert record.state == b"{}"


def test_only_its_owner_may_read_it_for_it_holds_secrets(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        journal.accept(request(), b"{}")
        assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
            "j.db": 0o600,
            "j.db-shm": 0o600,
            "j.db-wal": 0o600,
        }


def test_the_same_request_again_changes_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        journal.accept(request(), b"first")
        assert not journal.accept(request(), b"second")
        assert journal.records()[PodUid("u1")].state == b"first"


def test_another_request_under_the_same_uid_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        journal.accept(request(), b"{}")
        with pytest.raises(CloudError, match="another request") as caught:
            journal.accept(request(image="alpine"), b"{}")
    assert caught.value.code is CloudCode.TOKEN_CONFLICT


def test_a_forgotten_uid_is_never_accepted_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        journal.accept(request(), b"{}")
        journal.forget(PodUid("u1"))
        journal.forget(PodUid("u1"))
        assert journal.records() == {}
    with Journal(tmp_path / "j.db") as journal, pytest.raises(CloudError, match="second time") as caught:
        journal.accept(request(), b"{}")
    assert caught.value.code is CloudCode.TOKEN_CONFLICT


UIDS = (
    "5b0c2a5e-11aa-4d0f-9a5b-0a1b2c3d4e5f",
    "5B0C2A5E-11AA-4D0F-9A5B-0A1B2C3D4E5F",  # another UID, though the same UUID
    "5b0c2a5e11aa4d0f9a5b0a1b2c3d4e5f",  # so are those of static pods
    "u1",
)


def test_used_up_uids_are_told_apart_and_a_uuid_takes_little_room(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        for uid in UIDS:
            assert not journal.is_used_up(PodUid(uid))
            journal.accept(request(uid), b"{}")
            journal.forget(PodUid(uid))
            assert journal.is_used_up(PodUid(uid))
        assert journal._db.execute("SELECT max(length(uid)) FROM used_uids WHERE typeof(uid) = 'blob'").fetchone() == (
            16,
        )


def test_an_earlier_versions_used_up_uids_stay_used_up(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as db:
        db.executescript(_VERSIONS[0] + "PRAGMA user_version = 1;")
        db.executemany("INSERT INTO used_tokens VALUES (?, 1.5)", [(uid,) for uid in UIDS])
    for _ in range(2):
        with Journal(tmp_path / "j.db") as journal:
            assert [uid for uid in UIDS if journal.is_used_up(PodUid(uid))] == list(UIDS)
            assert not journal.is_used_up(PodUid("u2"))


def test_forgetting_an_unknown_uid_does_not_use_it_up(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        journal.forget(PodUid("u1"))
        assert journal.accept(request(), b"{}")


def test_state_of_an_unknown_instance_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        for act in (lambda: journal.save(PodUid("u1"), b""), lambda: journal.save_request(request(), b"")):
            with pytest.raises(CloudError, match="not in the journal") as caught:
                act()
            assert caught.value.code is CloudCode.NOT_FOUND


def test_request_and_state_change_together(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        journal.accept(request(), b"1")
        journal.save(PodUid("u1"), b"2")
        journal.save_request(request(image="alpine"), b"3")
        record = journal.records()[PodUid("u1")]
    assert (record.request.containers[0].image, record.state) == ("alpine", b"3")


def test_a_failed_transaction_leaves_nothing_even_when_nested(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        with pytest.raises(CloudError, match="not in the journal"):
            fail_half_way(journal)
        assert journal.records() == {}
        assert journal.setting("cidr") is None
        assert journal.accept(request(), b"{}")


def test_settings_are_replaced(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        journal.store_setting("cidr", b"1")
        journal.store_setting("cidr", b"2")
    with Journal(tmp_path / "j.db") as journal:
        assert journal.setting("cidr") == b"2"


def test_what_was_written_survives_sigkill(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from provider.cloud.instances.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.store_setting('before', b'yes')\n"
        "journal._db.execute('BEGIN'); journal.store_setting('half', b'no')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "j.db")], check=False, env=os.environ, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    with Journal(tmp_path / "j.db") as journal:
        assert journal.setting("before") == b"yes"
        assert journal.setting("half") is None


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    Journal(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(CloudError, match="newer zonelet"):
        Journal(path)


def test_a_disk_that_is_full_at_the_start_is_no_reason_to_move_the_journal_away(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from provider.cloud.instances.journal import Journal\n"
        "from provider.model.errors import CloudError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    Journal(Path(sys.argv[1]))\n"
        "except CloudError as error:\n"
        "    print(error.code.name, 'move' in error.message)\n"
    )
    path = tmp_path / "j.db"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.stderr, done.stdout) == ("", "UNAVAILABLE False\n")
    with Journal(path) as journal:
        assert journal.accept(request(), b"{}")


def test_a_path_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "j.db").mkdir()
    with pytest.raises(CloudError, match="unable to open") as caught:
        Journal(tmp_path / "j.db")
    assert caught.value.code is CloudCode.UNAVAILABLE


def test_a_file_that_is_no_journal_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    path.write_bytes(b"not a database, surely not one" * 100)
    with pytest.raises(CloudError, match="move it away"):
        Journal(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_request_that_cannot_be_read_hides_no_other_and_may_come_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        for uid in ("u1", "u2"):
            journal.accept(request(uid), b"old")
        journal._db.execute("""UPDATE requests SET request = '{"uid": 1}' WHERE uid = 'u1'""")
        assert set(journal.records()) == {"u2"}
        assert journal.accept(request("u1"), b"new")
        assert journal.records()[PodUid("u1")].state == b"new"


def test_a_full_disk_is_told_and_once_there_is_room_again_everything_goes_on(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from provider.cloud.instances.journal import Journal\n"
        "from provider.model.errors import CloudError\n"
        "from tests.unit.cloud.instances.test_journal import request\n"
        "path = Path(sys.argv[1]); journal = Journal(path); journal.accept(request(), b'before')\n"
        "full = path.with_name(path.name + '-wal').stat().st_size\n"
        "acts = [lambda: journal.accept(request('u2'), b'{}'), lambda: journal.save(request().uid, b'x' * 9000),\n"
        "        lambda: journal.forget(request().uid), lambda: journal.store_setting('a', b'b')]\n"
        "for act in acts * 2:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))\n"
        "    try:\n"
        "        act()\n"
        "    except CloudError as error:\n"
        "        print(error.code.name, error.retry_after)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    assert [(r.request.uid, r.state) for r in journal.records().values()] == [('u1', b'before')]\n"
        "for act in acts:\n"
        "    act()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "j.db")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stderr, done.stdout.split("\n")) == ("", ["UNAVAILABLE 5.0"] * 8 + [""])
    with Journal(tmp_path / "j.db") as journal:
        assert set(journal.records()) == {"u2"}
        assert journal.setting("a") == b"b"


def test_usage_outlives_the_instance_and_a_restart(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        journal.accept(request(), b"{}")
        journal.store_usage(PodUid("u1"), 10.0, None, b"runs")
        assert journal.open_usage() == [b"runs"]
        journal.store_usage(PodUid("u1"), 10.0, 12.0, b"ended")
        journal.store_usage(PodUid("u2"), 5.0, 6.0, b"earlier")
        journal.forget(PodUid("u1"))
    with Journal(tmp_path / "j.db") as journal:
        assert journal.usage() == [b"earlier", b"ended"]
        assert journal.usage(5.5) == [b"ended"]
        assert journal.open_usage() == []
        assert journal.has_usage(PodUid("u1"))
        assert not journal.has_usage(PodUid("u3"))


def test_the_oldest_usage_goes_but_never_of_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provider.cloud.instances.journal.KEPT_USAGE", 3)
    with Journal(tmp_path / "j.db") as journal:
        for number in range(10):
            journal.store_usage(PodUid(f"u{number}"), number, None if number == 1 else number + 1, b"%d" % number)
        assert journal.usage() == [b"1", b"7", b"8", b"9"]
        journal.store_usage(PodUid("u1"), 1, 20, b"1 ended")
        assert journal.usage() == [b"7", b"8", b"9"]
