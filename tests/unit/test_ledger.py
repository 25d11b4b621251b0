from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from engine.change import Entry
from engine.errors import LabctlError, Locked
from engine.lab import Need
from engine.ledger import Event
from engine.ledger.sqlite import SqliteLedger

NET = Entry(
    "net", "box", None, "t-1", needs=frozenset({Need("a", "uses")}), set_fields=("x",), digests={"*": "d"}
)


@pytest.fixture
def ledger(tmp_path):
    made = SqliteLedger(tmp_path / "folder" / "labctl.db")
    yield made
    made.close()


def test_it_is_for_its_owner_only_and_keeps_its_key(ledger):
    assert stat.S_IMODE(os.stat(ledger.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(ledger.path.parent).st_mode) == 0o700
    again = SqliteLedger(ledger.path)
    assert again.key == ledger.key
    assert len(ledger.key) == 32
    again.close()


def test_an_intent_becomes_an_entry_and_goes(ledger):
    ledger.intend("lab", NET)
    assert ledger.entries("lab") == [NET]
    made = replace(NET, id="i-1", outputs={"ip": "10.0.0.1"}, ssh={"user": "root"})
    ledger.record("lab", made)
    assert ledger.entries("lab") == [made]
    ledger.record("lab", replace(made, token="t-2", id="i-2"))
    assert [entry.id for entry in ledger.entries("lab")] == ["i-1", "i-2"]
    ledger.forget("lab", made)
    assert [entry.id for entry in ledger.entries("lab")] == ["i-2"]
    assert ledger.entries("other") == []
    assert ledger.labs() == ["lab"]


def test_history_and_plans_are_kept(ledger):
    event = Event(datetime.now(UTC), "run", "net", "create", "done", "because")
    ledger.note("lab", event)
    assert list(ledger.history("lab")) == [event]
    ledger.keep_plan("one", {"a": 1})
    ledger.keep_plan("two", {"b": 2})
    assert ledger.last_plan() == {"b": 2}
    assert ledger.last_plan("one") == {"a": 1}
    ledger.keep_plan("one", {"a": 3})
    assert ledger.last_plan() == {"a": 3}


def test_one_writer_at_a_time_and_labs_do_not_meet(ledger):
    other = SqliteLedger(ledger.path)
    with ledger.lock("lab", "labctl apply"):
        with pytest.raises(Locked, match=r"has been changing lab since .*labctl apply") as caught:
            other.lock("lab", "labctl destroy").__enter__()
        assert "labctl unlock" in caught.value.remedy
        with other.lock("elsewhere", "labctl apply"):
            pass
    with other.lock("lab", "labctl destroy"):
        assert ledger.unlock("lab").command == "labctl destroy"
    assert ledger.unlock("lab") is None
    other.close()


def test_a_dead_holders_lock_is_taken_over(ledger):
    script = (
        "import os, sys; from engine.ledger.sqlite import SqliteLedger;"
        "SqliteLedger(sys.argv[1]).lock('lab', 'labctl apply').__enter__(); os._exit(9)"
    )
    gone = subprocess.run([sys.executable, "-c", script, str(ledger.path)], check=False)
    assert gone.returncode == 9
    with ledger.lock("lab", "labctl apply"):
        pass


def test_many_processes_and_threads_write_at_once(ledger):
    script = (
        "import sys; from engine.ledger.sqlite import SqliteLedger; from engine.change import Entry\n"
        "ledger = SqliteLedger(sys.argv[1])\n"
        "for n in range(20): ledger.record(sys.argv[2], Entry('a', 'box', f'i-{n}', f't-{n}'))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(ledger.path), f"lab{at}"]) for at in range(2)
    ]
    threads = [
        threading.Thread(
            target=lambda lab=f"thread{at}": [
                ledger.record(lab, Entry("a", "box", f"i-{n}", f"t-{n}")) for n in range(20)
            ]
        )
        for at in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait() for process in processes] == [0, 0]
    assert [len(ledger.entries(lab)) for lab in ledger.labs()] == [20, 20, 20, 20]


def test_files_that_are_no_ledger_are_told_apart_and_left_alone(tmp_path):
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(LabctlError, match="is a database, but not a ledger"):
        SqliteLedger(other)
    assert other.read_bytes() == before
    text = tmp_path / "text.db"
    text.write_text("this is not a database at all, whatever its name says " * 40)
    with pytest.raises(LabctlError, match="is not a ledger"):
        SqliteLedger(text)
    with pytest.raises(LabctlError, match="cannot be opened"):
        SqliteLedger(tmp_path)


def test_a_newer_ledger_is_not_touched(ledger):
    ledger._connection.execute("UPDATE meta SET value = '2' WHERE key = 'format'")
    with pytest.raises(LabctlError, match="written by a newer labctl"):
        SqliteLedger(ledger.path)


def test_a_full_disk_is_told_in_words_and_loses_nothing(ledger):
    ledger.record("lab", NET)
    (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LabctlError, match="the disk is full") as caught:
        ledger.record("lab", replace(NET, token="t-2", outputs={"long": "x" * 100_000}))
    assert caught.value.exit_code == 1
    assert ledger.entries("lab") == [NET]
