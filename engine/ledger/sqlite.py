"""The default ledger: one SQLite file that survives being killed at any moment, shared by many processes."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from engine.change import Entry
from engine.errors import LabctlError, Locked
from engine.lab import Need, Use
from engine.ledger import Event, Holder, KeptOutputs
from engine.ledger.process import alive, started
from engine.ledger.who import who

T = TypeVar("T")

_FORMAT: Final = 1
_BUSY_SECONDS: Final = 30.0

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, lab TEXT NOT NULL, address TEXT NOT NULL, kind TEXT NOT NULL,
    host TEXT, id TEXT, token TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS entries_by_lab ON entries (lab, seq);
CREATE INDEX IF NOT EXISTS entries_by_token ON entries (lab, token);
CREATE INDEX IF NOT EXISTS entries_by_address ON entries (lab, address);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, lab TEXT NOT NULL, at TEXT NOT NULL, run TEXT NOT NULL,
    address TEXT, verb TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_lab ON events (lab, seq);
CREATE TABLE IF NOT EXISTS locks (
    lab TEXT PRIMARY KEY, who TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL,
    machine TEXT NOT NULL, command TEXT NOT NULL, since TEXT NOT NULL, secret TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outputs (lab TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS uses (
    user TEXT NOT NULL, lab TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (user, lab));
CREATE TABLE IF NOT EXISTS plans (lab TEXT PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL);
"""


class SqliteLedger:
    """A ledger in the file `path`, made (with its folder, for this user only) where there is none.

    Safe among threads and processes. Raises LabctlError with words where the file cannot be used.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._turn = threading.RLock()
        self._connection = self._open()
        self._check_format()
        self._prepare()
        self.key = self._do(self._set_up)

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            self._connection.close()

    def labs(self) -> list[str]:
        """The names of the labs that have entries or history."""
        rows = self._rows("SELECT lab FROM entries UNION SELECT lab FROM events ORDER BY 1")
        return [row[0] for row in rows]

    def entries(self, lab: str) -> list[Entry]:
        """All entries of `lab`, surplus ones included, in the order they were made."""
        return [
            _entry(row[0]) for row in self._rows("SELECT body FROM entries WHERE lab = ? ORDER BY seq", lab)
        ]

    def intend(self, lab: str, entry: Entry) -> None:
        """Remember that a create is about to be sent; durable when this returns."""
        self.record(lab, entry)

    def record(self, lab: str, entry: Entry) -> None:
        """Remember what a verb did.

        In place of the entry with the same token, else of the one with the same id.
        """

        def write(connection: sqlite3.Connection) -> None:
            seq = self._place(connection, lab, entry)
            row = (lab, entry.address, entry.kind, entry.host, entry.id, entry.token, _body(entry))
            if seq is None:
                connection.execute(
                    "INSERT INTO entries (lab, address, kind, host, id, token, body)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
            else:
                connection.execute(
                    "UPDATE entries SET lab = ?, address = ?, kind = ?, host = ?, id = ?, token = ?, body = ?"
                    " WHERE seq = ?",
                    (*row, seq),
                )

        self._do(write)

    def forget(self, lab: str, entry: Entry) -> None:
        """Drop an entry: the thing is gone, or was never made."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM entries WHERE seq = ?", (self._place(connection, lab, entry),))

        self._do(write)

    @contextmanager
    def lock(self, lab: str, command: str) -> Iterator[None]:
        """Hold the lab for this process; a dead holder's lock is taken over.

        Raises Locked with who and since when.
        """
        secret = secrets.token_hex(8)
        self._do(lambda connection: self._take_lock(connection, lab, command, secret))
        try:
            yield
        finally:
            self._do(
                lambda connection: connection.execute(
                    "DELETE FROM locks WHERE lab = ? AND secret = ?", (lab, secret)
                )
            )

    def unlock(self, lab: str) -> Holder | None:
        """Break the lab's lock; whose it was."""

        def write(connection: sqlite3.Connection) -> Holder | None:
            held = _held(connection, lab)
            connection.execute("DELETE FROM locks WHERE lab = ?", (lab,))
            return held[0] if held else None

        return self._do(write)

    def holder(self, lab: str) -> Holder | None:
        """Who is changing the lab now."""
        rows = self._rows(f"SELECT {_LOCK} FROM locks WHERE lab = ?", lab)
        held = _holder(rows[0]) if rows else None
        if held is None or (held[0].machine == socket.gethostname() and not alive(held[0].pid, held[1])):
            return None
        return held[0]

    def note(self, lab: str, event: Event) -> None:
        """Append to the lab's history."""
        row = (lab, event.at.isoformat(), event.run, event.address, event.verb, event.outcome, event.detail)
        self._do(
            lambda connection: connection.execute(
                "INSERT INTO events (lab, at, run, address, verb, outcome, detail)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        )

    def history(self, lab: str) -> Sequence[Event]:
        """The lab's history, oldest first."""
        rows = self._rows(
            "SELECT at, run, address, verb, outcome, detail FROM events WHERE lab = ? ORDER BY seq", lab
        )
        return [Event(datetime.fromisoformat(row[0]), *row[1:]) for row in rows]

    def keep_outputs(self, lab: str, outputs: KeptOutputs | None) -> None:
        """Remember what the lab puts out, for labs that use it; None forgets it."""
        if outputs is None:
            self._do(lambda connection: connection.execute("DELETE FROM outputs WHERE lab = ?", (lab,)))
            return
        body = {
            "values": dict(outputs.values),
            "unknown": sorted(outputs.unknown),
            "sensitive": sorted(outputs.sensitive),
        }
        row = (lab, json.dumps(body, default=str))
        insert = "INSERT OR REPLACE INTO outputs (lab, body) VALUES (?, ?)"
        self._do(lambda connection: connection.execute(insert, row))

    def outputs(self, lab: str) -> KeptOutputs | None:
        """What the lab put out when it was last applied; None where that is not remembered."""
        rows = self._rows("SELECT body FROM outputs WHERE lab = ?", lab)
        if not rows:
            return None
        body = json.loads(rows[0][0])
        return KeptOutputs(body["values"], frozenset(body["unknown"]), frozenset(body["sensitive"]))

    def use(self, lab: str, uses: Collection[Use]) -> None:
        """Remember what `lab` uses of other labs, in place of what it used before."""
        rows = [
            (lab, use.lab, json.dumps({"outputs": sorted(use.outputs), "hosts": sorted(use.hosts)}))
            for use in uses
        ]

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM uses WHERE user = ?", (lab,))
            connection.executemany("INSERT INTO uses (user, lab, body) VALUES (?, ?, ?)", rows)

        self._do(write)

    def uses(self, lab: str) -> list[Use]:
        """What `lab` uses of other labs."""
        rows = self._rows("SELECT lab, body FROM uses WHERE user = ? ORDER BY lab", lab)
        return [_use(*row) for row in rows]

    def users(self, lab: str) -> dict[str, Use]:
        """By name, the labs that use `lab`, and what of it."""
        rows = self._rows("SELECT user, body FROM uses WHERE lab = ? ORDER BY user", lab)
        return {user: _use(lab, body) for user, body in rows}

    def keep_plan(self, lab: str, plan: Mapping[str, Any]) -> None:
        """Remember the plan last printed for `lab`, and that it is the lab last planned here."""
        body = json.dumps(plan)
        self._do(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO plans (lab, at, body)"
                " VALUES (?, (SELECT coalesce(max(at), 0) + 1 FROM plans), ?)",
                (lab, body),
            )
        )

    def last_plan(self, lab: str | None = None) -> Mapping[str, Any] | None:
        """The plan last printed, of `lab` or of any lab."""
        rows = (
            self._rows("SELECT body FROM plans ORDER BY at DESC LIMIT 1")
            if lab is None
            else self._rows("SELECT body FROM plans WHERE lab = ?", lab)
        )
        found: Mapping[str, Any] | None = json.loads(rows[0][0]) if rows else None
        return found

    # -- the file --------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        try:
            self._make_file()
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (sqlite3.Error, OSError) as error:
            raise self._words(error) from error
        return connection

    def _make_file(self) -> None:
        folder = self.path.parent
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            if self.path.is_dir():
                raise

    def _set_up(self, connection: sqlite3.Connection) -> bytes:
        """The tables, the number of their format and the key; the key."""
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        add = "INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)"
        connection.execute(add, ("format", str(_FORMAT)))
        connection.execute(add, ("key", secrets.token_bytes(32)))
        (key,) = connection.execute("SELECT value FROM meta WHERE key = 'key'").fetchone()
        return bytes(key)

    def _check_format(self) -> None:
        """Before anything is written: the file is empty, or a ledger that this labctl can read."""
        tables = {row[0] for row in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return
        ours = {"meta", "entries"} <= tables
        rows = self._rows("SELECT value FROM meta WHERE key = 'format'") if ours else []
        if not rows:
            raise LabctlError(
                f"{self.path} is a database, but not a ledger of labctl",
                "name another file as `ledger:` in the inventory",
            )
        written = int(rows[0][0])
        if written > _FORMAT:
            raise LabctlError(
                f"{self.path} was written by a newer labctl (format {written}, this one knows {_FORMAT})",
                "update labctl: `pip install --upgrade labctl`",
            )

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._turn:
            try:
                return self._connection.execute(query, values).fetchall()
            except (sqlite3.Error, OSError) as error:
                raise self._words(error) from error

    def _do(self, write: Callable[[sqlite3.Connection], T]) -> T:
        """`write` as one transaction, durable when this returns."""
        with self._turn:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    result = write(self._connection)
                    self._connection.execute("COMMIT")
                finally:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
            except (sqlite3.Error, OSError) as error:
                raise self._words(error) from error
            return result

    def _prepare(self) -> None:
        """Written ahead and flushed at each commit: what was recorded is not lost to a crash or power cut."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                return
            except sqlite3.OperationalError as error:
                # Two that make the file at once: SQLite does not wait by itself for this one.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise self._words(error) from error
                time.sleep(0.05)

    def _words(self, error: Exception) -> LabctlError:
        """What is wrong with the file, for its owner."""
        text = str(error)
        for sign, what, remedy in _TROUBLES:
            if sign in text.lower():
                return LabctlError(f"the ledger {self.path} {what}", remedy)
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what, remedy = _TROUBLES[0][1:] if full else (f"cannot be opened: {error.strerror}", _ELSEWHERE)
            return LabctlError(f"the ledger {self.path} {what}", remedy)
        return LabctlError(f"the ledger {self.path} cannot be used: {text}", _ELSEWHERE)

    # -- rows ------------------------------------------------------------------------------------------------

    def _place(self, connection: sqlite3.Connection, lab: str, entry: Entry) -> int | None:
        """The row that `entry` stands in: by its token, else by what it is and where."""
        if entry.token:
            row = connection.execute(
                "SELECT seq FROM entries WHERE lab = ? AND token = ?", (lab, entry.token)
            ).fetchone()
        else:
            row = connection.execute(
                "SELECT seq FROM entries"
                " WHERE lab = ? AND address = ? AND kind = ? AND host IS ? AND id IS ?",
                (lab, entry.address, entry.kind, entry.host, entry.id),
            ).fetchone()
        return None if row is None else int(row[0])

    def _take_lock(self, connection: sqlite3.Connection, lab: str, command: str, secret: str) -> None:
        held = _held(connection, lab)
        machine = socket.gethostname()
        if held is not None:
            holder, since_boot = held
            if holder.machine != machine or alive(holder.pid, since_boot):
                since = f"{holder.since.astimezone():%Y-%m-%d %H:%M:%S}"
                raise Locked(
                    f"{holder.who} has been changing {lab} since {since}"
                    f" ({holder.command}, process {holder.pid})",
                    "wait until it is done; if it will never be, `labctl unlock` frees the lab",
                )
        now = datetime.now(UTC).isoformat()
        connection.execute(
            "INSERT OR REPLACE INTO locks (lab, who, pid, started, machine, command, since, secret)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (lab, who(), os.getpid(), started(os.getpid()), machine, command, now, secret),
        )


_ELSEWHERE: Final = "check its folder and permissions, or name another file as `ledger:` in the inventory"
_TROUBLES: Final = (
    ("disk is full", "cannot be written: the disk is full", "free some space and run the same command again"),
    ("disk i/o", "cannot be read or written: the disk reports an error", "check the disk and its free space"),
    ("readonly", "cannot be written: it is read-only for this user", _ELSEWHERE),
    ("not a database", "is not a ledger: the file holds something else, or is damaged", _ELSEWHERE),
    ("malformed", "is damaged", "put back a copy of it; until then labctl does not know what it made"),
    ("unable to open", "cannot be opened", _ELSEWHERE),
    ("locked", "is being written by somebody else for too long", "run the same command again"),
)


def _held(connection: sqlite3.Connection, lab: str) -> tuple[Holder, str] | None:
    """Who holds the lab, and when their process started."""
    row = connection.execute(f"SELECT {_LOCK} FROM locks WHERE lab = ?", (lab,)).fetchone()
    return None if row is None else _holder(row)


_LOCK: Final = "who, pid, machine, command, since, started"


def _holder(row: Sequence[Any]) -> tuple[Holder, str]:
    who, pid, machine, command, since, began = row
    return Holder(who, pid, machine, command, datetime.fromisoformat(since)), began


def _use(lab: str, text: str) -> Use:
    body = json.loads(text)
    return Use(lab, frozenset(body["outputs"]), frozenset(body["hosts"]))


def _body(entry: Entry) -> str:
    body = asdict(entry)
    body["needs"] = sorted([need.address, need.sort] for need in entry.needs)
    return json.dumps(body, default=str)


def _entry(text: str) -> Entry:
    body = json.loads(text)
    known = {one.name for one in fields(Entry)}
    body = {name: value for name, value in body.items() if name in known}
    body["needs"] = frozenset(Need(address, sort) for address, sort in body["needs"])
    body["set_fields"] = tuple(body["set_fields"])
    body["tags"] = tuple(body.get("tags", ()))
    return Entry(**body)
