"""Tokens: shown once, stored as a hash, ended for ever, and never guessable from an answer."""

from __future__ import annotations

import hmac
import json
import logging
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.core import serializers
from django.db import IntegrityError, transaction

from accounts import credentials, projects
from accounts.actors import Actor
from accounts.models import Credential, User
from core.db.clock import clock_at
from core.display.redaction import LineFormatter, TokenFilter, redacted
from tests.people import owner

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_token_opens_what_it_was_minted_for_and_its_secret_is_not_in_the_database() -> None:
    credential, token = credentials.mint(kind="api", user=owner(), project=projects.default(), scopes=["feed:read"])
    assert credentials.check(token) == credential
    secret = token[-43:]
    assert secret not in serializers.serialize("json", Credential.objects.all())


@pytest.mark.parametrize("wrong", ["", "x", "wr_key_", "wr_key_0000000000000000_" + "a" * 43, "é" * 60, "wr_key_\x00"])
def test_what_is_not_a_token_of_ours_opens_nothing(wrong: str) -> None:
    assert credentials.check(wrong) is None
    assert credentials.recognise(wrong).state == "unknown"


def test_a_right_id_with_a_wrong_secret_is_as_unknown_as_a_wrong_id() -> None:
    _, token = credentials.mint(kind="api", user=owner(), project=projects.default())
    flipped = token[:-1] + ("a" if token[-1] != "a" else "b")
    assert credentials.recognise(flipped) == credentials.Recognised(None, "unknown")


def test_a_secret_is_compared_once_in_constant_time_also_for_an_unknown_id(monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = credentials.mint(kind="api", user=owner(), project=projects.default())
    wrong, unknown = token[:-1] + "?", token[:8] + uuid4().hex[:16] + token[24:]
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counted(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    assert [credentials.recognise(each).state for each in (token, wrong, unknown)] == ["live", "unknown", "unknown"]
    assert len(compared) == 3 and len(set(compared)) == 1
    [sizes] = set(compared)
    assert sizes[0] == sizes[1]


def test_a_token_of_one_kind_does_not_pass_for_another() -> None:
    _, token = credentials.mint(kind="api", user=owner(), project=projects.default())
    assert credentials.check(token.replace("wr_key_", "wr_child_")) is None


def test_an_ended_token_is_recognised_but_opens_nothing() -> None:
    session = str(uuid4())
    credential, token = credentials.mint(kind="child", project=projects.default(), subject=session, attempt=1)
    _, newer = credentials.mint(kind="child", project=projects.default(), subject=session, attempt=2)
    assert credentials.end_for_attempt(credential.project_id, session, 1) == 1
    assert credentials.check(token) is None
    assert credentials.recognise(token).state == "ended"
    assert credentials.check(newer) is not None


def test_a_token_expires_by_the_databases_clock() -> None:
    _, token = credentials.mint(kind="api", user=owner(), project=projects.default(), expires_at=NOON)
    with clock_at(NOON - timedelta(seconds=1)):
        assert credentials.check(token) is not None
    with clock_at(NOON):
        assert credentials.recognise(token).state == "expired"


def test_the_keys_of_a_person_who_left_open_nothing() -> None:
    user = owner("ann")
    _, token = credentials.mint(kind="api", user=user, project=projects.default())
    assert credentials.check(token) is not None
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert credentials.check(token) is None


def test_a_childs_token_without_an_attempt_cannot_exist() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        credentials.mint(kind="child", project=projects.default(), subject=str(uuid4()))


def test_an_actor_is_made_from_the_credential_alone() -> None:
    session = uuid4()
    child, _ = credentials.mint(kind="child", project=projects.default(), subject=str(session), attempt=3)
    actor = Actor.of_credential(child)
    assert (actor.kind, actor.session, actor.attempt, actor.user_id) == ("child", session, 3, None)
    key, _ = credentials.mint(kind="api", project=projects.default(), user=User.objects.create_user("ann"))
    assert Actor.of_credential(key).user_id == key.user_id


def test_logs_keep_the_id_of_a_token_and_drop_its_secret() -> None:
    _, token = credentials.mint(kind="api", user=owner(), project=projects.default())
    line = redacted(json.dumps({"authorization": f"Bearer {token}", "protocols": f"wardroom.v1, bearer.{token}"}))
    assert token[-43:][:8] not in line
    assert "[redacted]" in line


def test_what_an_agent_wrote_begins_no_line_of_the_log() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "took %s", ("x\n12:00 ERROR y\r\u2028z\x85",), None)
    TokenFilter().filter(record)
    shown = LineFormatter("%(levelname)s %(message)s").format(record)
    assert shown == "INFO took x\n    12:00 ERROR y\\x0d\\u2028z\\x85"
    assert len(shown.splitlines()) == 2
