"""One secret, planted in everything that programs write, is on no surface: REST, the admin, streams and logs."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.test import Client

from accounts import credentials
from accounts.actors import Actor
from accounts.models import User
from approvals import decisions, requests
from approvals.canonical_action import Ask
from approvals.decision_validation import Answer
from approvals.models import Approval, Grant
from core.display import redaction
from core.display.configured_redaction import Rules
from ledger import ephemeral_events, streams, unit_of_work
from ledger.models import AuditEntry, Event
from mailbox import delivery
from mailbox.envelope import NewMessage
from mailbox.models import Message
from orchestration.models import Session, TranscriptItem
from tests.accounts.test_permission_matrix import API, MATRIX, WITHOUT_KEY, Row, shape_of
from tests.adminsite.crawling import addresses
from tests.adminsite.planting import Planted, plant
from tests.adminsite.test_every_page import CHANGES_ON_GET, get, text_of, visitor
from tests.mailbox.faces import Django

pytestmark = [pytest.mark.django_db, pytest.mark.surface]

#: Found by its form, and by the name of its field.
FORM = "gh" + "p_" + "Q7w8E9r0" * 5
NAMED = "swordfish-blue"
ARGUMENTS = {"command": f"TOKEN={FORM} make", "password": NAMED, "nested": [{"api_key": NAMED}], FORM: 1}
TEXT = f"I use {FORM} for it"
#: Calls that hand a message to its reader, or raw bytes to the person who repairs them.
DELIVERS = {"GET quarantine", "GET quarantine/{}"}


@pytest.fixture
def planted() -> Planted:
    """Rows of everything, with the secrets in them, and a request that was edited and approved."""
    planted = plant("mine", "MINE")
    project, session = planted.project, planted.rows[Session]
    session.attempts.update(stderr_tail=TEXT)
    child = Actor(kind="child", id=f"{session.pk}/1", name="asker", session=session.pk, attempt=1)
    facts = [{"name": "head", "value_hash": "a1", "shown": TEXT}]
    asked = Ask(
        session=session.pk, attempt=1, request_id="secret", tool_name="shell", permission="p", resource=TEXT,
        question=TEXT, arguments=ARGUMENTS, preconditions=facts,
    )  # fmt: skip
    approval, _ = requests.ask(project.pk, asked, actor=child, via="connection")
    pending, _ = requests.ask(
        project.pk, msgspec.structs.replace(asked, request_id="pending"), actor=child, via="connection"
    )
    person = Actor.of_user(User.objects.create_superuser("decider"))
    edit = Answer(
        decision="edit",
        digest=approval.digest,
        message=TEXT,
        note=TEXT,
        arguments={**ARGUMENTS, "folder": "/"},
        remember={"scope": "session"},
    )
    decisions.decide(project.pk, approval.id, edit, person, "admin")
    told = {"arguments": ARGUMENTS, "output": TEXT, FORM: TEXT}
    with unit_of_work.transaction():
        unit_of_work.child_event(project.pk, "tool_started", told, session=session.pk, attempt=1, seq=2)
        unit_of_work.audit(project.pk, person, "plant", "subject", {"detail": TEXT})
        delivery.deliver(project.pk, session.address, [NewMessage(id="m", message_kind="task", body={"text": TEXT})])
        delivery.deliver(project.pk, "box", [NewMessage(id="n", message_kind="task", body={"text": TEXT})])
    TranscriptItem.objects.create(
        session=session, attempt=1, position=1, role="assistant", content=TEXT, size=9, item_id=""
    )
    planted.rows |= {
        Approval: Approval.objects.get(id=approval.id),
        Grant: Grant.objects.get(approval=approval.id),
        Event: Event.objects.get(type="tool_started"),
        AuditEntry: AuditEntry.objects.get(action="plant", subject="subject"),
        Message: Message.objects.get(message_id="m"),
    }
    planted.rows[Approval].pending = pending
    return planted


@pytest.fixture
def superuser() -> User:
    return User.objects.create_superuser("super")


def leaks(planted: Planted, superuser: User) -> list[str]:
    """Every surface that shows one of the secrets."""
    found = [where for where, text in surfaces(planted, superuser) if FORM in text or NAMED in text]
    return list(dict.fromkeys(found))


def surfaces(planted: Planted, superuser: User) -> Iterator[tuple[str, str]]:
    yield from of_rest(planted, superuser)
    yield from of_admin(planted, superuser)
    yield from of_streams(planted)
    yield "log", logged()


def of_rest(planted: Planted, superuser: User) -> Iterator[tuple[str, str]]:
    """Every GET that the table of the API has, as a reader that asked for none of it."""
    _, token = credentials.mint(kind="api", project=planted.project, user=superuser, scopes=["admin"])
    approval, face = planted.rows[Approval], Django()
    for row in [row for row in MATRIX if row.call.startswith("GET ")]:
        if shape_of(row.call) in DELIVERS | WITHOUT_KEY:
            continue
        for each in (approval, approval.pending):
            path, _, query = filled(row, each, planted).partition("?")
            headers = {"Authorization": f"Bearer {token}"}
            given = dict([query.split("=")]) if query else {}
            answer = face.call("GET", f"/{API}{path}", b"", headers, given)
            streamed = getattr(answer, "streaming", False)
            yield row.call, str(answer.content if not streamed else text_of(answer))


def filled(row: Row, approval: Approval, planted: Planted) -> str:
    session = planted.rows[Session]
    ids = {"session": session.pk, "approval": approval.id, "over": session.pk, "grant": planted.rows[Grant].id}
    path = row.path
    for name, id in ids.items():
        path = path.replace(f"{{{name}}}", str(id))
    return path


def of_admin(planted: Planted, superuser: User) -> Iterator[tuple[str, str]]:
    client = visitor(superuser)
    # REST returns the texts of a session to its programs; its pages are for people.
    Session.objects.filter(project=planted.project).update(title=TEXT, assignment=TEXT, result=TEXT, error=TEXT)
    for address in addresses(planted, superuser):
        if address.name not in CHANGES_ON_GET and "reveal" not in address.path:
            yield address.path, text_of(get(client, address))
    late = Client()
    late.force_login(superuser)
    approval = planted.rows[Approval]
    refused = late.post(f"/admin/approvals/approval/{approval.id}/decide/", {"decision": "deny", "version": 1})
    yield "a refused form", text_of(refused)


def of_streams(planted: Planted) -> Iterator[tuple[str, str]]:
    [batch] = streams._make([streams.Reading(planted.project.pk, None)])
    yield "the stream of the feed", b"".join(batch.chunks).decode()
    assert b"tool_started" in b"".join(batch.chunks)
    watcher = ephemeral_events.Watcher(lambda: None)
    session = planted.rows[Session].pk
    ephemeral_events._watchers[session] = {watcher}
    ephemeral_events.show(session, {"type": "output", "payload": {"input": ARGUMENTS, "text": TEXT}})
    del ephemeral_events._watchers[session]
    yield "an ephemeral event", b"".join(watcher.take()).decode()


def logged() -> str:
    """A log line about the arguments, with a traceback, by the settings of every process."""
    shown: list[str] = []
    config: Any = settings.LOGGING
    line = logging.config.DictConfigurator(config).configure_formatter(dict(config["formatters"]["line"]))
    record = logging.LogRecord("a", logging.ERROR, "", 1, "failed with %s and %r", (ARGUMENTS, TEXT), None)
    redaction.TokenFilter().filter(record)
    try:
        raise ValueError(json.dumps(ARGUMENTS))
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
        shown.append(line.format(record))
    return "".join(shown)


def test_no_surface_shows_a_secret(planted: Planted, superuser: User) -> None:
    found = leaks(planted, superuser)
    assert not found, "\n".join(found)


def test_without_redaction_the_same_look_finds_it(
    planted: Planted, superuser: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the crawl can see."""
    monkeypatch.setattr(redaction, "_rules", Rules(patterns=()))
    monkeypatch.setattr(redaction, "is_secret_name", lambda *_: False)
    found = leaks(planted, superuser)
    approval, session = planted.rows[Approval], planted.rows[Session]
    expected = {
        "GET approvals",
        "GET approvals/{approval}",
        "GET approvals/{approval}/wait?timeout=0",
        "GET feed",
        "GET grants",
        "GET grants/{grant}",
        "GET mailboxes/box/messages",
        "GET sessions/{session}/attempts",
        "GET sessions/{session}/events",
        "GET sessions/{session}/history",
        "GET snapshot",
        f"/admin/approvals/approval/{approval.id}/change/",
        f"/admin/approvals/approval/{approval.id}/part/",
        "/admin/approvals/approval/",
        "/admin/approvals/approval/queue/",
        f"/admin/orchestration/session/{session.pk}/change/",
        f"/admin/ledger/event/{planted.rows[Event].pk}/change/",
        f"/admin/mailbox/message/{planted.rows[Message].pk}/change/",
        "a refused form",
        "the stream of the feed",
        "an ephemeral event",
        "log",
    }
    assert expected - set(found) == set()
