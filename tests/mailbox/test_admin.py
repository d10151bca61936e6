"""The mailbox in the admin: the rights to look and to settle, and hostile bytes without effect on the page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Project, User
from ledger.models import AuditEntry
from mailbox import claims, delivery, quarantine
from mailbox.adminsite import inspection
from mailbox.models import Message, Quarantined
from tests.mailbox.conftest import task

pytestmark = pytest.mark.django_db
LIST = "/admin/mailbox/quarantined/"
MESSAGES = "/admin/mailbox/message/"
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
GOOD = b'{"id": "one", "message_kind": "task", "body": "do it"}'
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</textarea><script>alert(1)</script>",
    "{{ 7|add:7 }}{% now 'Y' %}",
    "javascript:alert(1)",
    "a\u202eb\u200bc\u2066d",
    "=cmd|' /C calc'!A0",
    "\x1b[31mred",
]


def staff(project: Any, *permissions: Any, name: str = "clerk") -> Any:
    """A signed-in member of a team that sees the project, with these permissions of mailbox."""
    team = Group.objects.create(name=f"{name}s")
    Project.objects.get(pk=project).groups.add(team)
    person = User.objects.create_user(name, is_staff=True)
    person.groups.add(team)
    person.user_permissions.set(Permission.objects.filter(content_type__app_label="mailbox", codename__in=permissions))
    client = Client()
    client.force_login(person)
    return client


def page(row: Any, call: str = "change") -> str:
    return f"{LIST}{row.pk}/{call}/"


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, html: Any) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.feed(html)

    def handle_starttag(self, tag: Any, attributes: Any) -> None:
        self.found.append((tag, dict(attributes)))


@pytest.fixture
def row(project: UUID) -> Any:
    return quarantine.put(project, GOOD, "amqp", "a bad day", address="desk", message_id="one")


@pytest.fixture
def clerk(project: UUID) -> Any:
    return staff(project, "inspect_quarantine", "requeue", "view_message")


def test_to_look_needs_the_permission(project: UUID, row: Any) -> None:
    other = staff(project, "view_message", "requeue", name="other")
    for path in (LIST, page(row), page(row, "raw")):
        assert other.get(path).status_code == 403, path
    assert other.post(page(row, "requeue")).status_code == 403
    looker = staff(project, "inspect_quarantine", name="looker")
    for path in (LIST, page(row), page(row, "raw")):
        assert looker.get(path).status_code == 200, path


def test_to_settle_needs_another(project: UUID, row: Any) -> None:
    looker = staff(project, "inspect_quarantine", name="looker")
    assert b"<form" not in looker.get(page(row)).content.split(b'id="content"')[1]
    assert looker.post(page(row, "requeue")).status_code == 403
    assert looker.post(page(row, "discard"), {"note": "x"}).status_code == 403
    row.refresh_from_db()
    assert row.state == "waiting"


def test_what_is_another_teams_or_nobodys_does_not_exist(project: UUID, foreign: UUID, row: Any, clerk: Client) -> None:
    theirs = quarantine.put(foreign, GOOD, "amqp", "theirs")
    nobodys = quarantine.put(None, GOOD, "amqp", "nobodys")
    delivery.deliver(foreign, "desk", [task("their secret")])
    for hidden in (theirs, nobodys):
        for call in ("change", "raw"):
            assert clerk.get(page(hidden, call)).status_code == 404
        for call in ("requeue", "discard"):
            assert clerk.post(page(hidden, call), {"note": "x"}).status_code == 404
    listed = clerk.get(LIST).content.decode()
    assert "a bad day" in listed and "theirs" not in listed and "nobodys" not in listed
    assert clerk.get(f"{MESSAGES}{Message.objects.get().pk}/change/").status_code == 302
    assert b"0 messages" in clerk.get(MESSAGES).content
    User.objects.create_superuser("root")
    root = Client()
    root.force_login(User.objects.get(username="root"))
    assert root.get(page(nobodys)).status_code == 200


def test_requeue_from_the_page_arrives_once_and_is_audited(project: UUID, row: Any, clerk: Client) -> None:
    for _ in range(2):
        assert clerk.post(page(row, "requeue")).status_code == 302
    assert [each.message_id for each in claims.drain(project, "desk").messages] == ["one"]
    assert AuditEntry.objects.get().actor.startswith("user:")
    assert "This is final." in clerk.get(page(row)).content.decode()
    assert " by clerk (user:" in clerk.get(page(row)).content.decode().partition("<dt>Settled</dt>")[2]


def test_who_settles_second_is_told_that_nothing_was_changed(project: UUID, row: Any, clerk: Client) -> None:
    assert "It is in its mailbox." in clerk.post(page(row, "requeue"), follow=True).content.decode()
    other = GOOD.decode().replace("do it", "other")
    shown = clerk.post(page(row, "requeue"), {"edited": other}, follow=True).content.decode()
    assert "It was requeued before, by clerk (user:" in shown and "It is in its mailbox." not in shown


def test_an_edited_copy_is_requeued(project: UUID, clerk: Client) -> None:
    row = quarantine.put(project, b'{"message_kind": "task", "body": "x', "amqp", "cut off")
    answer = clerk.post(page(row, "requeue"), {"edited": GOOD.decode().replace("do it", "mended"), "address": "desk"})
    assert answer.status_code == 302
    assert claims.drain(project, "desk").messages[0].body == "mended"


def test_what_is_still_wrong_is_said_and_what_was_typed_is_kept(project: UUID, clerk: Client) -> None:
    row = quarantine.put(project, b"{", "amqp", "cut off", address="desk")
    answer = clerk.post(page(row, "requeue"), {"edited": '{"message_kind": "gossip", "body": "<b>typed</b>"}'})
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert "message_kind" in shown and "one of ask" in shown and "&lt;b&gt;typed&lt;/b&gt;" in shown
    assert clerk.post(page(row, "requeue")).status_code == 422
    row.refresh_from_db()
    assert row.state == "waiting"


def test_discard_wants_a_note(row: Any, clerk: Client) -> None:
    assert clerk.post(page(row, "discard"), {"note": " "}).status_code == 422
    assert clerk.post(page(row, "discard"), {"note": "spam\u202e"}).status_code == 302
    assert "spam\\u{202e}" in clerk.get(page(row)).content.decode()


def test_nothing_is_settled_by_get_or_without_csrf(project: UUID, row: Any, clerk: Client) -> None:
    for call in ("requeue", "discard"):
        # Whoever logs in again comes back by GET, to the page with the buttons.
        assert clerk.get(page(row, call))["Location"] == page(row, "change")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="clerk"))
    for call in ("requeue", "discard"):
        assert strict.post(page(row, call), {"note": "x"}).status_code == 403
    for path in (f"{LIST}add/", page(row, "delete"), f"{MESSAGES}add/"):
        assert clerk.post(path).status_code in (403, 404)
    row.refresh_from_db()
    assert row.state == "waiting"


def test_the_list_counts_what_waits_and_filters(project: UUID, row: Any, clerk: Client) -> None:
    quarantine.put(project, b"{", "maildir", "cut off", source_ref="new/1")
    shown = clerk.get(LIST).content.decode()
    assert '<span class="wr-number">2</span>' in shown and "from maildir" in shown
    only = clerk.get(LIST, {"source": "maildir", "state__exact": "waiting"}).content.decode()
    assert "cut off" in only and "a bad day" not in only
    assert "a bad day" in clerk.get(LIST, {"q": "one"}).content.decode()


def test_the_list_names_the_project_where_there_is_more_than_one(
    project: UUID, foreign: UUID, row: Any, clerk: Client
) -> None:
    assert "column-project" not in clerk.get(LIST).content.decode()
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    assert "column-project" in root.get(LIST).content.decode()


@pytest.mark.parametrize("payload", HOSTILE)
def test_hostile_text_changes_no_element_of_any_page(project: UUID, clerk: Client, payload: Any) -> None:
    before = quarantine.put(project, b"calm", "amqp", "calm", address="calm", message_id="calm")
    kept = quarantine.put(project, f"text {payload}".encode(), "amqp", payload, address=payload, message_id=payload)
    calm = [tag for tag, _ in Elements(clerk.get(page(before)).content.decode()).found]
    shown = clerk.get(page(kept)).content.decode()
    assert [tag for tag, _ in Elements(shown).found] == calm
    delivery.deliver(project, "desk", [task({"text": payload}, sender_role="boss")])
    listed = clerk.get(MESSAGES).content.decode() + clerk.get(LIST).content.decode()
    listed += clerk.get(f"{MESSAGES}{Message.objects.get().pk}/change/").content.decode()
    for html in (shown, listed):
        for tag, attributes in Elements(html).found:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
            assert "javascript:" not in (attributes.get("href") or "")
        assert not set(html) & set("\u202e\u200b\u2066\x1b")


def test_the_bytes_are_a_download_that_no_browser_opens(project: UUID, clerk: Client) -> None:
    row = quarantine.put(project, b"<script>alert(1)</script>", "amqp", "why")
    answer = clerk.get(page(row, "raw"))
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_messages_can_only_be_read(project: UUID, clerk: Client) -> None:
    delivery.deliver(project, "desk", [task({"a": "x\u200by"}, id="m-1")])
    row = Message.objects.get()
    shown = clerk.get(f"{MESSAGES}{row.pk}/change/").content.decode()
    assert "x\\u{200b}y" in shown and 'name="_save"' not in shown
    assert clerk.post(f"{MESSAGES}{row.pk}/change/", {"state": "admitted"}).status_code == 403
    assert clerk.post(f"{MESSAGES}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    for term in ("m-1", "des"):
        assert "m-1" in clerk.get(MESSAGES, {"q": term}).content.decode()
    assert "0 messages" in clerk.get(MESSAGES, {"q": "esk"}).content.decode()
    assert "0 messages" in clerk.get(MESSAGES, {"state": "claimed"}).content.decode()


def test_a_message_says_who_holds_it_and_when_it_was_admitted(project: UUID, clerk: Client) -> None:
    delivery.deliver(project, "desk", [task(id="m-1")])
    address = f"{MESSAGES}{Message.objects.get().pk}/change/"
    assert "None" not in clerk.get(address).content.decode()
    claim = claims.drain(project, "desk", consumer="worker-7")
    assert re.search(f"worker-7, until {MOMENT}", clerk.get(address).content.decode())
    claims.ack(project, "desk", claim)
    shown = clerk.get(address).content.decode()
    assert "worker-7" not in shown and re.search(MOMENT, shown.split("Admitted:")[1])


@pytest.mark.parametrize(
    ("text", "laid_out", "broke_at"),
    [
        ('{"a": [1, {"b": null}]}', '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ]\n}', None),
        ('{"a": 1, "a": 2}', '{\n  "a": 1,\n  "a": 2\n}', None),
        ('{"a": tru', '{\n  "a": ', 6),
        ('{"a": "cut', '{\n  "a": ', 6),
        ("[]", "[\n]", None),
        ("[1, 2", "[\n  1,\n  2", 5),
        ("[1}", "[\n  1", 2),
        ("", "", 0),
        ("<xml>", "", 0),
        ("{} more", "{\n}", 3),
    ],
)
def test_json_is_laid_out_up_to_where_it_breaks(text: str, laid_out: str, broke_at: int | None) -> None:
    assert inspection.reindented(text) == (laid_out, broke_at)


def test_a_wall_of_brackets_is_looked_at_in_no_time() -> None:
    look = inspection.look(b"[" * 3_000_000)
    assert look.text_rest and look.hex_rest and len(look.json) < 200_000


def test_the_copy_to_edit_means_the_same_and_hides_nothing() -> None:
    text = json.dumps({"a": "x\u202e\u200b\U000e0041é"}, ensure_ascii=False)
    copy = inspection.editable(text)
    assert json.loads(copy) == json.loads(text)
    assert not set(copy) & set("\u202e\u200b\U000e0041")


def test_every_byte_string_has_a_look() -> None:
    for raw in (b"", bytes(range(256)), b"\xff" * 1000, "é\u202e".encode("utf-16")):
        look = inspection.look(raw)
        assert look.size == len(raw)


def test_a_deferred_list_does_not_read_the_bytes(
    project: UUID, clerk: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        quarantine.put(project, b"x" * 1000, "amqp", str(number))
    with django_assert_max_num_queries(18):
        clerk.get(LIST)
    assert Quarantined.objects.count() == 30
