"""Tags as services take them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from engine.aws.tags import narrow, widened


def test_what_s3_and_iam_take_stays_as_it_is() -> None:
    plain = {"labctl:lab": "hw02@fall2026/alice", "Name": "hw02@fall2026/alice page", "a=b": "Größe 1+1"}
    assert narrow(plain) == plain


def test_addresses_of_loops_are_written_otherwise() -> None:
    assert narrow({"labctl:address": "worker[0]"}) == {"labctl:address": "worker=5B0=5D"}


@given(st.text(st.characters(codec="utf-8")))
def test_nothing_is_lost(text: str) -> None:
    sent = narrow({"key": text})
    assert re.fullmatch(r"[\w\s.:/=+\-@]*", sent["key"])
    assert widened(sent) == {"key": text}
