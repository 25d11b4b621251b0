from __future__ import annotations

import base64
import json
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
