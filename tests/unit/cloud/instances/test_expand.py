"""`$(NAME)` expansion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.cloud.instances.expand import expand_env, expand_words
from provider.model.expansion import expand, missing
from provider.model.request import EnvVar

VARIABLES = {"A": "a", "B": "$(A)", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$(A)", "a"),
        ("x$(A)y$(A)", "xaya"),
        ("$(B)", "$(A)"),
        ("$(EMPTY)", ""),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$a"),
        ("$$$$(A)", "$$(A)"),
        ("$", "$"),
        ("$A", "$A"),
        ("cost: 5$", "cost: 5$"),
        ("$(A", "$(A"),
        ("$(", "$("),
        ("$()", "$()"),
        ("$(A$(A)", "$(A$(A)"),
        ("\n$(A)\n", "\na\n"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


@given(st.text(alphabet="ab()"))
def test_text_without_a_dollar_stays(text: str) -> None:
    assert expand(text, {"a": "x"}) == text


@given(st.text(alphabet="$()a"))
def test_doubled_dollars_shield_any_text(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"a": "x", "": "y"}) == text


def test_env_sees_what_stands_before_it() -> None:
    env = (
        EnvVar("EARLY", "$(IP)", expand=True),
        EnvVar("IP", from_address=True),
        EnvVar("URL", "http://$(IP)", expand=True),
        EnvVar("RAW", "$(IP)"),
        EnvVar("IP", "other"),
    )
    assert expand_env(env, "10.0.0.1") == {
        "EARLY": "$(IP)",
        "IP": "other",
        "URL": "http://10.0.0.1",
        "RAW": "$(IP)",
    }


def test_words_keep_none_apart_from_empty() -> None:
    assert expand_words(None, VARIABLES) is None
    assert expand_words((), VARIABLES) == ()
    assert expand_words(("$(A)", "b"), VARIABLES) == ("a", "b")


def test_missing_names_what_has_no_value() -> None:
    assert missing("$(Z)/$(EMPTY)/$(A)/$$(X)", VARIABLES) == ["EMPTY", "Z"]
