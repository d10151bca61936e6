"""The refusals of the handshake, one test each, each with a close code that a client can read."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from accounts import credentials, projects
from accounts.actors import Actor
from accounts.models import CredentialKind, Project
from orchestration.sessions import lifecycle
from orchestration.sessions import spawn as session_spawn
from orchestration.states import Status
from tests.orchestration.connections.conftest import TESTS, Server, Spawn

DIALECTS = ("wardroom.v1", "wardroom.plain")


def bearer(token: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


@pytest.mark.parametrize("token", ["", "nonsense", "wr_child_" + "a" * 16 + "_" + "b" * 43])
def test_no_token_or_an_unknown_one_is_4401(server: Server, child: Spawn, token: str) -> None:
    with server.dial(child.id, **bearer(token), subprotocols=["wardroom.v1"]) as peer:
        assert peer.code() == 4401


def test_a_wrong_secret_is_4401(server: Server, child: Spawn) -> None:
    with server.knock(child, token=child.token[:-1] + ("A" if child.token[-1] != "A" else "B")) as peer:
        assert peer.code() == 4401


def test_an_api_key_opens_no_connection(server: Server, child: Spawn, django_user_model: Any) -> None:
    user = django_user_model.objects.create_user("kay")
    _, key = credentials.mint(kind=CredentialKind.API, project=projects.default(), user=user, scopes=["admin"])
    with server.knock(child, token=key) as peer:
        assert peer.code() == 4401


def test_a_cookie_opens_no_connection(server: Server, child: Spawn, admin_client: Any) -> None:
    cookie = {"Cookie": f"sessionid={admin_client.cookies['sessionid'].value}"}
    with server.dial(child.id, additional_headers=cookie, subprotocols=["wardroom.v1"]) as peer:
        assert peer.code() == 4401


def test_a_token_in_the_address_opens_no_connection(server: Server, child: Spawn) -> None:
    with server.dial(f"{child.id}?token={child.token}", subprotocols=["wardroom.v1"]) as peer:
        assert peer.code() == 4401


def test_a_replaced_token_is_4401(server: Server, child: Spawn) -> None:
    fresh = session_spawn.fresh_token(projects.default(), child.id, TESTS)
    with server.knock(child) as peer:
        assert peer.code() == 4401
    with server.knock(child, token=fresh.child_token) as peer:
        peer.say("hello", attempt=1)
        peer.hear("welcome")


def test_a_token_of_another_session_is_4403(server: Server, spawn: Callable[..., Spawn]) -> None:
    mine, other = spawn(), spawn()
    with server.knock(other, token=mine.token) as peer:
        assert peer.code() == 4403


@pytest.mark.parametrize("address", [uuid.uuid4(), "not-an-id", "%00", "a/b", ""])
def test_an_absent_session_is_4404(server: Server, child: Spawn, address: object) -> None:
    with server.dial(address, **bearer(child.token), subprotocols=["wardroom.v1"]) as peer:
        assert peer.code() == 4404


def test_a_foreign_session_looks_like_an_absent_one(server: Server, child: Spawn) -> None:
    elsewhere = Project.objects.create(slug="elsewhere")
    foreign = session_spawn.spawn(elsewhere, session_spawn.SpawnOrder(assignment="x", runner="external"), TESTS)
    with server.dial(foreign.session.pk, **bearer(child.token), subprotocols=["wardroom.v1"]) as peer:
        foreign_end = peer.end()
    with server.dial(uuid.uuid4(), **bearer(child.token), subprotocols=["wardroom.v1"]) as peer:
        assert foreign_end == peer.end()
    assert foreign_end[0] == 4404


def test_the_token_is_checked_before_the_session(server: Server, child: Spawn) -> None:
    with server.dial(uuid.uuid4(), **bearer("nonsense"), subprotocols=["wardroom.v1"]) as peer:
        assert peer.code() == 4401


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_token_of_an_attempt_that_is_over_is_4410(server: Server, child: Spawn, dialect: str) -> None:
    lifecycle.started(child.id, 1)
    lifecycle.finish(child.id, 1, Status.COMPLETED)
    with server.knock(child, dialect=dialect) as peer:
        assert peer.code() == 4410


def test_the_token_of_an_earlier_attempt_is_4410(server: Server, child: Spawn) -> None:
    lifecycle.started(child.id, 1)
    lifecycle.finish(child.id, 1, Status.ERROR)
    lifecycle.retry(projects.default(), child.id, Actor.system("tests"))
    with server.knock(child) as peer:
        assert peer.code() == 4410


def test_no_hello_is_4408(server: Server, child: Spawn, timings: Callable[..., None]) -> None:
    timings(hello_secs=0.3)
    with server.knock(child) as peer:
        assert peer.code() == 4408
    assert child.attempt().connection == 0


def test_a_hello_of_another_attempt_is_4409(server: Server, child: Spawn) -> None:
    with server.knock(child) as peer:
        peer.say("hello", attempt=2)
        assert peer.code() == 4409
    assert child.attempt().connection == 0


def test_a_frame_before_hello_is_4400(server: Server, child: Spawn) -> None:
    with server.knock(child) as peer:
        peer.say("run_ack")
        assert peer.code() == 4400


def test_an_unknown_kind_before_hello_is_answered_and_ignored(server: Server, child: Spawn) -> None:
    with server.knock(child) as peer:
        peer.say("greetings")
        assert peer.hear("error")["code"] == "unknown-kind"
        peer.say("hello", attempt=1)
        peer.hear("welcome")


@pytest.mark.parametrize(
    ("offered", "named"),
    [
        (["wardroom.v1"], "wardroom.v1"),
        (["wardroom.plain"], "wardroom.plain"),
        (["wardroom.plain", "wardroom.v1"], "wardroom.v1"),
        (["wardroom.v9", "wardroom.v1"], "wardroom.v1"),
        (None, None),
    ],
)
def test_the_answer_names_the_version(server: Server, child: Spawn, offered: Any, named: str | None) -> None:
    with server.dial(child.id, **bearer(child.token), subprotocols=offered) as peer:
        assert peer.socket.subprotocol == named


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_token_may_come_as_a_subprotocol_and_is_not_named(server: Server, child: Spawn, dialect: str) -> None:
    with server.dial(child.id, subprotocols=[dialect, f"bearer.{child.token}"]) as peer:
        assert peer.socket.subprotocol == dialect
        if dialect == "wardroom.v1":
            peer.say("hello", attempt=1)
            peer.hear("welcome")
        else:
            peer.hear("run")


def test_a_version_that_nobody_speaks_is_4400(server: Server, child: Spawn) -> None:
    with server.dial(child.id, **bearer(child.token), subprotocols=["wardroom.v9"]) as peer:
        assert peer.code() == 4400


def test_a_client_that_offers_nothing_is_a_plain_child(server: Server, child: Spawn) -> None:
    with server.dial(child.id, **bearer(child.token)) as peer:
        assert peer.hear("run")["assignment"] == "do it"


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example"])
def test_an_origin_says_nothing(server: Server, child: Spawn, origin: Any) -> None:
    with server.dial(child.id, **bearer(child.token), subprotocols=["wardroom.v1"], origin=origin) as peer:
        peer.say("hello", attempt=1)
        assert peer.hear("welcome")["session_id"] == str(child.id)


def test_any_other_address_is_4404_for_whoever_has_a_token(server: Server, child: Spawn) -> None:
    with server.dial(f"{child.id}/more", **bearer(child.token)) as peer:
        assert peer.code() == 4404
