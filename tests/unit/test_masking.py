from __future__ import annotations

import base64
import json
import shlex
import textwrap
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.masking import MASK, Masker

SECRET = 'p@ss "word"/é'


@pytest.mark.parametrize(
    "form", [SECRET, json.dumps(SECRET), quote_plus(SECRET), base64.b64encode(SECRET.encode()).decode()]
)
def test_every_form_is_masked(form):
    masked = Masker([SECRET]).text(f"before {form} after")
    assert "word" not in masked
    assert MASK in masked


@given(st.binary(max_size=4), st.binary(max_size=4))
def test_a_secret_within_something_encoded_is_masked(before, after):
    encoded = base64.b64encode(before + b"correct horse battery" + after).decode()
    assert MASK in Masker(["correct horse battery"]).text(encoded)


def test_short_secrets_only_as_whole_values():
    masker = Masker(["12", ""])
    assert masker.text("12 apples") == "12 apples"
    assert masker.value({"a": ["12", 12, "x"], "b": True}) == {"a": [MASK, MASK, "x"], "b": True}


NASTY = 'it\'s "a" word-quote$(x)`y`\\z'


@pytest.mark.parametrize(
    "shown",
    [
        shlex.quote(NASTY),
        shlex.quote(f"export X={shlex.quote(NASTY)}"),
        shlex.quote(shlex.quote(shlex.quote(NASTY))),
        json.dumps({"cmd": f"echo {shlex.quote(NASTY)}"}),
        repr(NASTY),
        json.dumps(json.dumps(NASTY)),
    ],
)
def test_a_secret_with_quotes_is_masked_however_often_it_was_quoted(shown):
    masked = Masker([NASTY]).text(f"before {shown} after")
    assert "word-quote" not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


@pytest.mark.parametrize("width", [40, 64, 76])
@pytest.mark.parametrize("shift", range(12))
def test_a_secret_in_base64_is_masked_across_the_ends_of_lines(width, shift):
    secret = "correct horse battery staple 4711"
    encoded = base64.b64encode(b"x" * (shift + 30) + secret.encode() + b"y" * 9).decode()
    masked = Masker([secret]).text("\n".join(textwrap.wrap(encoded, width)))
    inside = base64.b64encode(b"x" * (shift + 30) + secret.encode()).decode()[-24:-12]
    assert inside not in masked.replace("\n", "")
    assert MASK in masked


def test_a_secret_in_json_in_base64_is_masked():
    for ensure_ascii in (True, False):
        document = json.dumps({"Env": [f"A={NASTY}é"]}, ensure_ascii=ensure_ascii)
        masked = Masker([f"{NASTY}é"]).text(base64.b64encode(document.encode()).decode())
        assert base64.b64encode(b'"a\\" word-quote')[4:-4].decode() not in masked
        assert MASK in masked


def test_the_lines_of_a_secret_are_masked_one_by_one():
    masked = Masker(["first-line-aa\n second'line-bb\nc"]).text("$ first-line-aa\n$  second'\"'\"'line-bb")
    assert "line" not in masked


def test_the_beginning_of_a_secret_that_was_cut_short_is_masked():
    masker = Masker(["correct horse battery staple"])
    assert masker.text("cmd  echo correct horse ba… -v") == f"cmd  echo {MASK}… -v"
    assert masker.text("creating… correct") == "creating… correct"


def test_unicode_in_any_escape():
    for shown in ("Grüße-é€🔑", json.dumps("Grüße-é€🔑"), ascii("Grüße-é€🔑")):
        assert MASK in Masker(["Grüße-é€🔑"]).text(shown)


def test_many_quotes_do_not_make_masking_slow():
    masker = Masker(["a'b" * 20, "'" * 30])
    assert masker.text("'\"" * 20_000 + "a'b" * 19) == "'\"" * 20_000 + "a'b" * 19


def test_a_secret_is_found_wherever_it_is_and_however_short():
    masker = Masker(["77", "hunter two"])
    assert masker.finds("pin 77")
    assert masker.finds({"a": ["x", "hunter%20two"]})
    assert masker.finds({"77": None})
    assert masker.finds(77)
    assert not masker.finds({"a": ["hunter", 7, None, True]})
