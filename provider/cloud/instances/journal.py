"""What the cloud remembers over a restart: accepted requests, the state of each instance, UIDs that are used up.

SQLite in one file; of each instance one row for its request, which is large and hardly changes, and one for its state,
which is small and changes often. A row is written *before* the effect that it tells of. Docker labels hold what is
fixed at creation; everything that changes later is here.

Durability: write-ahead log with synchronous=NORMAL. What was written survives the death of the process at any moment
(tests kill one); the loss of power may cost the newest writes, never the file's consistency, and a relist then finds
containers without a row, which the orphan sweep handles.

UIDs that are used up are kept for ever, for a pod may be asked for again however late: by a backup of the cluster that
is played in, by an API server with an old list. So they take as little room as can be: 23 bytes each.

The connection belongs to the thread that opened it; the event loop writes by itself, for a write is short.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid
from provider.model.request import InstanceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = structlog.get_logger(__name__)

RETRY_AFTER = 5.0
"""Seconds after which a write that failed may be tried again."""

KEPT_USAGE = 200_000
"""Usage records that are kept: those of the newest attempts, and of whoever still runs. About 120 MB; ten days of
20,000 pods a day."""

_NO_JOURNAL = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_VERSIONS = (
    """
CREATE TABLE requests (uid TEXT PRIMARY KEY, request BLOB NOT NULL);
CREATE TABLE states (uid TEXT PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE used_tokens (uid TEXT PRIMARY KEY, forgotten_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
""",
    """
CREATE TABLE used_uids (uid BLOB PRIMARY KEY) WITHOUT ROWID;
INSERT INTO used_uids SELECT compact(uid) FROM used_tokens;
DROP TABLE used_tokens;
""",
    """
CREATE TABLE usage (number INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, started_at REAL NOT NULL, ended_at REAL,
    record BLOB NOT NULL);
CREATE INDEX usage_by_start ON usage (started_at);
CREATE INDEX usage_open ON usage (number) WHERE ended_at IS NULL;
""",
)
"""What makes each version out of the one before it; `compact` is _compact."""

SCHEMA_VERSION = len(_VERSIONS)


class Record(Struct, frozen=True):
    """One instance as it was last written; `state` is JSON whose shape belongs to the writer."""

    request: InstanceRequest
    state: bytes


class Journal:
    """The embedded journal of one installation; `close` it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        CloudError INTERNAL for one of a newer zonelet, or one that is no journal; UNAVAILABLE for one that cannot be
        opened now (a full disk, another process that writes).
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # requests hold secrets; the log beside it gets the same mode from SQLite
        with _refusals():
            self._db = sqlite3.connect(path, isolation_level=None)
        self._depth = 0
        self._encoder = msgspec.json.Encoder()
        self._requests = msgspec.json.Decoder(InstanceRequest)
        try:
            with _refusals():
                self._prepare()
        except CloudError as error:
            self._db.close()
            if getattr(error.__cause__, "sqlite_errorcode", None) not in _NO_JOURNAL:
                raise
            text = f"{path} cannot be read as a journal ({error.__cause__}); move it away to start with an empty one"
            raise CloudError(CloudCode.INTERNAL, text) from error

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            text = (
                f"the journal has version {version}, this zonelet knows {SCHEMA_VERSION}; start the newer zonelet again"
            )
            raise CloudError(CloudCode.INTERNAL, text)
        if version < SCHEMA_VERSION:
            self._db.create_function("compact", 1, _compact, deterministic=True)
            with self.transaction():
                for statement in "".join(_VERSIONS[version:]).strip().split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; twice is no error."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all of the block or nothing of it; blocks may nest, the outermost one commits.

        CloudError(UNAVAILABLE) when the file cannot be written now (the disk is full): nothing was written.
        """
        if self._depth:
            yield
            return
        self._depth += 1
        try:
            with _refusals():
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
        finally:
            self._depth -= 1
            if self._db.in_transaction:  # after some errors SQLite has rolled back by itself
                self._db.execute("ROLLBACK")

    def accept(self, request: InstanceRequest, state: bytes) -> bool:
        """Write a new instance; False if this very request was accepted before (nothing changes then).

        Raises TOKEN_CONFLICT for a UID that was accepted with another request, or was forgotten. What cannot be read of
        an earlier one is replaced.
        """
        with self.transaction():
            known = self._db.execute("SELECT request FROM requests WHERE uid = ?", (request.uid,)).fetchone()
            before = None if known is None else self._read(request.uid, known[0])
            if before is not None:
                if before == request:
                    return False
                raise CloudError(CloudCode.TOKEN_CONFLICT, f"instance {request.uid} was created with another request")
            if self.is_used_up(request.uid):
                text = f"instance {request.uid} was created and removed before; a UID is never started a second time"
                raise CloudError(CloudCode.TOKEN_CONFLICT, text)
            row = (request.uid, self._encoder.encode(request))
            self._db.execute("INSERT OR REPLACE INTO requests VALUES (?, ?)", row)
            self._db.execute("INSERT OR REPLACE INTO states VALUES (?, ?)", (request.uid, state))
        return True

    def save(self, uid: PodUid, state: bytes) -> None:
        """Replace an instance's state; NOT_FOUND for one that was never accepted or is forgotten."""
        with _refusals():
            done = self._db.execute("UPDATE states SET state = ? WHERE uid = ?", (state, uid))
        if not done.rowcount:
            raise CloudError(CloudCode.NOT_FOUND, f"instance {uid} is not in the journal")

    def save_request(self, request: InstanceRequest, state: bytes) -> None:
        """Replace request and state together (an update of the instance); NOT_FOUND as save."""
        with self.transaction():
            self.save(request.uid, state)
            self._db.execute(
                "UPDATE requests SET request = ? WHERE uid = ?", (self._encoder.encode(request), request.uid)
            )

    def forget(self, uid: PodUid) -> None:
        """Drop an instance and remember that its UID is used up; an unknown UID is no error and leaves no trace."""
        with self.transaction():
            self._db.execute("DELETE FROM states WHERE uid = ?", (uid,))
            if self._db.execute("DELETE FROM requests WHERE uid = ?", (uid,)).rowcount:
                self._db.execute("INSERT OR IGNORE INTO used_uids VALUES (?)", (_compact(uid),))

    def is_used_up(self, uid: PodUid) -> bool:
        """Return whether the UID belonged to an instance that was forgotten."""
        return self._db.execute("SELECT 1 FROM used_uids WHERE uid = ?", (_compact(uid),)).fetchone() is not None

    def records(self) -> dict[PodUid, Record]:
        """Return every instance whose request can be read, by UID; of the others it is said loudly which they are."""
        rows = self._db.execute("SELECT uid, request, state FROM requests JOIN states USING (uid) ORDER BY uid")
        found = ((PodUid(uid), self._read(uid, request), state) for uid, request, state in rows)
        return {uid: Record(request, state) for uid, request, state in found if request is not None}

    def _read(self, uid: PodUid, row: bytes) -> InstanceRequest | None:
        try:
            return self._requests.decode(row)
        except msgspec.MsgspecError as error:
            log.warning("journal.request_cannot_be_read", uid=uid, error=str(error))
            return None

    def store_usage(self, uid: PodUid, started_at: float, ended_at: float | None, record: bytes) -> None:
        """Write what an instance costs, in place of an earlier record of it; it outlives the instance's own rows.

        Beyond KEPT_USAGE the oldest ended ones go.
        """
        with self.transaction():
            self._db.execute(
                "INSERT INTO usage (uid, started_at, ended_at, record) VALUES (?, ?, ?, ?) ON CONFLICT (uid) DO UPDATE "
                "SET started_at = excluded.started_at, ended_at = excluded.ended_at, record = excluded.record",
                (uid, started_at, ended_at, record),
            )
            self._db.execute(
                "DELETE FROM usage WHERE number <= (SELECT max(number) FROM usage) - ? AND ended_at IS NOT NULL",
                (KEPT_USAGE,),
            )

    def has_usage(self, uid: PodUid) -> bool:
        """Return whether an instance has a usage record."""
        return self._db.execute("SELECT 1 FROM usage WHERE uid = ?", (uid,)).fetchone() is not None

    def usage(self, since: float | None = None) -> list[bytes]:
        """Return the usage records of what began at a moment or later, None: all; in the order of their beginning."""
        query = "SELECT record FROM usage WHERE ? IS NULL OR started_at >= ? ORDER BY started_at, number"
        return [row for (row,) in self._db.execute(query, (since, since))]

    def open_usage(self) -> list[bytes]:
        """Return the usage records of what has not ended."""
        return [row for (row,) in self._db.execute("SELECT record FROM usage WHERE ended_at IS NULL ORDER BY number")]

    def setting(self, name: str) -> bytes | None:
        """Return what was stored under a name (chosen CIDRs, stock set by an operator), None if nothing was."""
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def store_setting(self, name: str, value: bytes) -> None:
        """Store a value under a name."""
        with _refusals():
            self._db.execute(
                "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )


def _compact(uid: str) -> bytes | str:
    """Return a UID as it is kept when used up: 16 bytes for a UUID in its usual form, the text itself for any other."""
    try:
        found = UUID(uid)
    except ValueError:
        return uid
    return found.bytes if str(found) == uid else uid


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        text = f"the journal cannot be written ({error}); is the disk of its directory full?"
        raise CloudError(CloudCode.UNAVAILABLE, text, RETRY_AFTER) from error
