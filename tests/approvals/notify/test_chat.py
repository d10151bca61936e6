"""Messages to chat rooms, by the real apprise to a receiver on this host."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.core import checks

from accounts.actors import Actor
from accounts.models import User
from approvals.models import NotifyPreference
from approvals.notify import chat
from ledger.deliveries import lanes
from ledger.models import Delivery, Lane
from tests.approvals.notify.acting import ask, decide, send_all
from tests.ledger.webhooks.receiver import Receiver, receiving
from tests.limits import Timings

pytestmark = pytest.mark.django_db
SECRET = "token-of-the-room"


@pytest.fixture
def room(settings: Any) -> Iterator[Receiver]:
    # The first import of the library takes longer than the shortest time of a try in these tests.
    assert chat.is_usable("json://127.0.0.1/")
    with receiving() as one:
        settings.CHAT_URLS = {"ops": f"json://127.0.0.1:{one.port}/{SECRET}"}
        yield one


@pytest.fixture
def people(db: None) -> list[User]:
    found = [User.objects.create_superuser(name, f"{name}@example.com", "x") for name in ("ann", "bob")]
    NotifyPreference.objects.bulk_create([NotifyPreference(user=user, chat="ops") for user in found])
    return found


def told(room: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in room.got]


def test_a_room_is_told_once_for_all_of_its_people_and_again_when_it_is_settled(
    room: Receiver, people: list[User]
) -> None:
    first, second = ask(arguments={"password": "hidden"}), ask("drop")
    send_all()
    (message,) = told(room)
    assert message["title"] == "[Wardroom] 2 requests wait for an answer"
    assert str(first.pk) in message["message"] and str(second.pk) in message["message"]
    assert "hidden" not in message["message"] and "secret-place" not in message["message"]
    decide(first, people[0])
    send_all()
    assert told(room)[1]["title"] == "[Wardroom] Settled: deploy"
    assert "deploy: approved by ann" in told(room)[1]["message"]
    assert set(Delivery.objects.values_list("lane", "receiver", "state")) == {("chat:ops", "ops", "sent")}


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The lines that the log of a process gets at its most talkative level."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    caplog.set_level(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


def test_a_room_that_refuses_gets_it_later_and_nothing_shows_its_address(
    room: Receiver, people: list[User], logged: list[str]
) -> None:
    room.answers = [403] * 2
    ask()
    send_all()
    row = Delivery.objects.get()
    assert (row.state, row.last_status, row.last_error) == ("waiting", 403, "the chat answered 403")
    assert Lane.objects.get(name="chat:ops").failures > 0
    assert lanes.redrive(row, Actor.of_user(people[0]))
    send_all()
    row.refresh_from_db()
    assert (row.state, row.last_error) == ("sent", "")
    assert SECRET not in row.payload + row.key and SECRET not in "".join(logged)


def test_a_room_that_hangs_or_is_away_is_given_up_for_now(
    room: Receiver, people: list[User], timings: Timings, settings: Any
) -> None:
    over = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        assert over.wait(30)

    room.answers = [hang, hang]
    ask()
    # All of a delivery has three times as long: the machine may be busy.
    with timings(delivery_timeout_secs=1):
        send_all()
        assert Delivery.objects.get().last_error == "the chat did not take it"
        settings.CHAT_URLS = {"ops": f"json://127.0.0.1:1/{SECRET}"}
        send_all()
    over.set()
    assert Delivery.objects.get().state == "waiting" and SECRET not in Delivery.objects.get().last_error


def test_a_room_that_is_no_longer_set_waits_with_its_reason(room: Receiver, people: list[User], settings: Any) -> None:
    room.answers = [500] * 2
    ask()
    send_all()
    settings.CHAT_URLS = {"other": "json://127.0.0.1:1/"}
    send_all()
    assert Delivery.objects.get().last_error == "CHAT_URLS has no usable address for this room"


def test_no_name_of_a_tool_calls_everybody_or_becomes_a_link(room: Receiver, people: list[User]) -> None:
    ask("<!channel> @everyone [see](https://evil.example)")
    send_all()
    (message,) = told(room)
    text = message["title"] + message["message"].partition("\n")[0]
    assert "evil.example" in text
    assert not set("@<>[]") & set(text.removeprefix("[Wardroom]")) and "https://" not in text


def test_no_name_of_a_key_or_a_person_does_either(room: Receiver, people: list[User]) -> None:
    approval = ask()
    send_all()
    User.objects.filter(pk=people[0].pk).update(username="<!channel> @everyone [see](https://evil.example)")
    decide(approval, User.objects.get(pk=people[0].pk))
    send_all()
    [ended] = [line for line in told(room)[1]["message"].split("\n") if "approved by" in line]
    assert "evil.example" in ended
    assert not set("@<>[]") & set(ended) and "https://" not in ended


def findings() -> list[Any]:
    return [each for each in checks.run_checks() if each.id in ("wardroom.W011", "wardroom.W012")]


def test_a_room_that_cannot_be_reached_is_a_finding_without_its_address(settings: Any) -> None:
    settings.CHAT_URLS = {"ops": "json://127.0.0.1/x"}
    assert findings() == []
    settings.CHAT_URLS = {"ops": f"nonsense://{SECRET}", "x" * 41: "json://127.0.0.1/x"}
    found = findings()
    assert [each.id for each in found] == ["wardroom.W012"] * 2
    assert SECRET not in str(found)


def test_without_apprise_a_room_has_a_clear_reason_and_a_finding(
    room: Receiver, people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    ask()
    send_all()
    assert "requirements-chat.txt" in Delivery.objects.get().last_error
    (found,) = findings()
    assert found.id == "wardroom.W011" and "requirements-chat.txt" in found.hint
