"""Delivering in front of Django: in shared turns, each caller with its own answer, whatever others do."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError

from accounts import credentials, scopes
from accounts.actors import Actor
from accounts.models import Credential
from core.limits import LIMITS
from core.web import fast_path
from core.web.problems import Problem
from mailbox import delivery
from mailbox.api import views
from mailbox.models import Message, Quarantined
from tests.mailbox import hostile
from tests.mailbox.faces import Caller, Server
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/mailboxes/desk/messages"


@pytest.fixture
def caller(web_server: Server, project: UUID) -> Caller:
    return Caller(web_server, project, scopes=scopes.ALL)


def new_message(id: str = "one", **more: Any) -> Any:
    return {"id": id, "message_kind": "task", "body": "do it"} | more


def test_a_delivery_has_no_view_and_the_other_calls_at_its_address_have_one(caller: Caller) -> None:
    assert not hasattr(views.Messages, "post")
    assert caller.post(PATH, new_message()).status_code == 201
    assert caller.call("PUT", PATH, b"{}").status_code == 405
    assert caller.get(PATH).json()["results"][0]["id"] == "one"


def test_many_at_once_each_get_their_own_answer(web_server: Server, project: UUID, foreign: UUID) -> None:
    mine, theirs = (Caller(web_server, each, scopes=["mailboxes:write"]) for each in (project, foreign))
    reader = Caller(web_server, project, scopes=["mailboxes:read"])
    nobody = Caller(web_server, project, scopes=scopes.ALL)
    credentials.end(nobody.credential.pk, Actor.system("test"))
    kinds = [
        (201, lambda n: mine.post(PATH, new_message(f"m-{n}"))),
        (201, lambda n: theirs.post(PATH, new_message(f"m-{n - 1}", body="their own"))),
        (403, lambda n: reader.post(PATH, new_message())),
        (401, lambda n: nobody.post(PATH, new_message())),
        (422, lambda n: mine.post(PATH, raw=b"{")),
        (409, lambda n: mine.post(PATH, new_message("m-0", body=f"other {n}"))),
        (200, lambda n: mine.post(PATH, {"messages": [new_message(f"b-{n}-{each}") for each in range(5)]})),
    ]
    mine.post(PATH, new_message("m-0"))
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda n: kinds[n % 7][1](n), range(210)))
    assert [answer.status_code for answer in answers] == [kinds[n % 7][0] for n in range(210)]
    assert [answer.json()["id"] for answer in answers[::7]] == [f"m-{n}" for n in range(0, 210, 7)]
    batches = [[each["id"] for each in answer.json()["results"]] for answer in answers[6::7]]
    assert batches == [[f"b-{n}-{each}" for each in range(5)] for n in range(6, 210, 7)]
    assert Message.objects.filter(project=project).count() == 30 + 30 * 5
    assert Message.objects.filter(project=foreign).count() == 30


def test_a_batch_keeps_its_order(caller: Caller) -> None:
    many = [new_message(f"{number:03}") for number in range(500)]
    results = caller.post(PATH, {"messages": many}).json()["results"]
    assert [each["seq"] for each in results] == sorted(each["seq"] for each in results)
    assert [row.message_id for row in Message.objects.order_by("seq")] == [each["id"] for each in many]


@pytest.mark.parametrize("change", [{"ended_at": "2026-01-01T00:00:00Z"}, {"scopes": []}])
def test_a_key_that_loses_its_right_loses_it_with_the_next_call(caller: Caller, change: Any) -> None:
    assert caller.post(PATH, new_message()).status_code == 201
    Credential.objects.filter(pk=caller.credential.pk).update(**change)
    assert caller.post(PATH, new_message("two")).status_code in (401, 403)
    assert Message.objects.count() == 1


def test_a_database_that_is_away_fails_the_calls_and_the_next_ones_go_through(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "mailbox.store.group_commit._transaction", lambda batch: (_ for _ in ()).throw(OperationalError("away"))
        )
        answer = caller.post(PATH, new_message())
    assert (answer.status_code, answer.json()["type"], answer.headers["Retry-After"]) == (503, "unavailable", "5")
    assert caller.post(PATH, new_message()).status_code == 201


def test_what_breaks_the_whole_turn_is_told_to_each_and_stops_nothing(
    caller: Caller, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "deliver_posts", lambda posts: 1 / 0)
        # Over a bare socket: the document promises no bug, and clients are held to it.
        connection.sendall(request(caller, BODY, JSON, length(BODY)))
        assert heard(connection)[0][0] == 500
    assert caller.post(PATH, new_message()).status_code == 201


# --- what a connection can do -------------------------------------------------------------------------------------


def request(caller: Caller, body: bytes = b"", *headers: Any, path: str = PATH, method: str = "POST") -> Any:
    lines = [f"{method} {path} HTTP/1.1", "Host: testserver", f"Authorization: Bearer {caller.token}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def length(body: Any) -> str:
    return f"Content-Length: {len(body)}"


JSON = "Content-Type: application/json"
BODY = json.dumps(new_message()).encode()


@pytest.fixture
def connection(web_server: Server) -> Iterator[Any]:
    with closing(socket.create_connection(("127.0.0.1", web_server.port), timeout=10)) as opened:
        yield opened


def heard(connection: Any, answers: int = 1) -> Any:
    """As many whole answers as were asked for: status and body."""
    data = b""
    found: list[Any] = []
    while len(found) < answers:
        chunk = connection.recv(65536)
        assert chunk, data
        data += chunk
        while b"\r\n\r\n" in data:
            head, _, rest = data.partition(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(rest) < size:
                break
            found.append((int(head.split()[1]), json.loads(rest[:size])))
            data = rest[size:]
    return found


def test_a_body_in_small_pieces_is_one_body(caller: Caller, connection: Any) -> None:
    whole = request(caller, BODY, JSON, length(BODY))
    for at in range(0, len(whole), 7):
        connection.sendall(whole[at : at + 7])
    assert heard(connection)[0][0] == 201


def test_a_chunked_body_is_a_body(caller: Caller, connection: Any) -> None:
    connection.sendall(request(caller, b"", JSON, "Transfer-Encoding: chunked"))
    for at in range(0, len(BODY), 10):
        piece = BODY[at : at + 10]
        connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    connection.sendall(b"0\r\n\r\n")
    assert heard(connection)[0][0] == 201


def test_an_endless_body_is_refused_when_it_is_too_long(caller: Caller, connection: Any) -> None:
    connection.sendall(request(caller, b"", JSON, "Transfer-Encoding: chunked"))
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(LIMITS.max_request_bytes // 0x10000 + 1):
        connection.sendall(piece)
    status, problem = heard(connection)[0]
    assert (status, problem["type"]) == (413, "too-large")


def test_a_length_over_the_limit_is_refused_before_the_body_comes(caller: Caller, connection: Any) -> None:
    connection.sendall(request(caller, b"", JSON, f"Content-Length: {10**12}"))
    status, problem = heard(connection)[0]
    assert (status, problem["type"]) == (413, "too-large")


def test_who_may_not_deliver_learns_nothing_of_the_body(web_server: Server, project: UUID, connection: Any) -> None:
    reader = Caller(web_server, project, scopes=["mailboxes:read"])
    connection.sendall(request(reader, b"", JSON, f"Content-Length: {10**12}"))
    assert heard(connection)[0][0] == 403


def test_a_body_that_does_not_come_is_given_up(caller: Caller, connection: Any, timings: Any) -> None:
    timings(body_secs=0.2)
    connection.sendall(request(caller, BODY[:5], JSON, length(BODY)))
    status, problem = heard(connection)[0]
    assert (status, problem["type"]) == (408, "too-slow")
    assert not Message.objects.exists()


def test_calls_behind_one_another_on_one_connection_are_each_answered_in_order(caller: Caller, connection: Any) -> None:
    bodies = [json.dumps(new_message(str(number))).encode() for number in range(20)]
    connection.sendall(b"".join(request(caller, body, JSON, length(body)) for body in bodies))
    assert [(status, told["id"], told["seq"]) for status, told in heard(connection, 20)] == [
        (201, str(number), number + 1) for number in range(20)
    ]


def test_who_leaves_in_the_middle_of_the_body_has_sent_nothing(
    caller: Caller, connection: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection.sendall(request(caller, BODY[:-3], JSON, length(BODY)))
    connection.close()
    assert caller.post(PATH, new_message("two")).status_code == 201
    assert [row.message_id for row in Message.objects.all()] == ["two"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_who_leaves_before_the_answer_has_delivered_and_may_ask_again(caller: Caller, connection: Any) -> None:
    connection.sendall(request(caller, BODY, JSON, length(BODY)))
    connection.close()
    wait_until(Message.objects.exists)
    again = caller.post(PATH, new_message())
    assert (again.status_code, again.json()) == (201, {"id": "one", "address": "desk", "seq": 1})
    assert Message.objects.count() == 1


def test_a_thousand_hostile_bodies_are_each_refused_clearly_and_none_is_kept(caller: Caller) -> None:
    bodies = hostile.bodies(1000)
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda raw: caller.post(PATH, raw=raw), bodies))
    told = {(answer.status_code, answer.json()["type"], bool(answer.json()["detail"])) for answer in answers}
    assert told == {(422, "invalid", True)}
    assert not Message.objects.exists() and not Quarantined.objects.exists()


def test_a_short_body_needs_no_timer_of_its_own(
    caller: Caller, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The front gate has read it, within its time: a second timer costs as much as the gate."""
    monkeypatch.setattr("core.web.fast_path._in_time", None)
    connection.sendall(request(caller, BODY, JSON, length(BODY)))
    assert heard(connection)[0][0] == 201


async def test_a_short_body_over_the_limit_is_refused(timings: Any) -> None:
    timings(max_request_bytes=len(BODY) - 1)
    with pytest.raises(Problem) as refused:
        await fast_path.body({"headers": [], fast_path.BODY: BODY}, None)
    assert refused.value.status == 413
