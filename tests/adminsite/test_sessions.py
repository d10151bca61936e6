"""The list and the page of sessions, their two buttons, and the front page: rights and contents."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import Project, User
from core.db.clock import read_database_clock
from ledger import unit_of_work
from mailbox import delivery, questions
from mailbox.models import Message
from orchestration.adminsite import session_page
from orchestration.models import Attempt, Session
from tests.adminsite.planting import Planted, plant, staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def mine() -> Planted:
    return plant("mine", "MINE")


@pytest.fixture
def theirs() -> Planted:
    return plant("theirs", "THEIRS")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def holder(project: Project, *names: str) -> Client:
    member = staff("holder", project, permissions=False)
    member.user_permissions.set(Permission.objects.filter(codename__in=names))
    return signed_in(member)


def queued(project: Project, **fields: Any) -> Session:
    pk = uuid.uuid4()
    return Session.objects.create(id=pk, root=pk, project=project, assignment="work", **fields)


def press(client: Client, session: Session, button: str, **data: Any) -> Any:
    return client.post(f"/admin/orchestration/session/{session.pk}/{button}/", data)


def test_cancel_needs_the_permission_to_stop_and_a_reason(mine: Planted) -> None:
    session = queued(mine.project)
    writer = holder(mine.project, "view_session", "change_session")
    assert press(writer, session, "cancel", reason="no").status_code == 403
    assert "Cancel this session" not in page_of(writer, session)
    client = signed_in(User.objects.create_superuser("super"))
    press(client, session, "cancel", reason="")
    client.get(f"/admin/orchestration/session/{session.pk}/cancel/", {"reason": "by a link"})
    session.refresh_from_db()
    assert (session.status, session.cancel_requested_at) == ("queued", None)
    press(client, session, "cancel", reason="wrong branch")
    session.refresh_from_db()
    assert (session.status, session.cancel_reason) == ("cancelled", "wrong branch")


def test_an_interrupt_needs_the_permission_to_stop_beside_that_to_change(mine: Planted) -> None:
    session = queued(mine.project)
    writer = holder(mine.project, "view_session", "change_session")
    told = {"id": str(uuid.uuid4()), "text": "look at the logs"}
    assert press(writer, session, "message", **told, interrupt="on").status_code == 403
    assert "interrupt" not in page_of(writer, session)
    assert press(writer, session, "message", **told).status_code == 302


def page_of(client: Client, session: Session) -> str:
    return client.get(f"/admin/orchestration/session/{session.pk}/change/").content.decode()


def test_a_message_needs_the_permission_to_change_and_a_double_press_is_one_message(mine: Planted) -> None:
    session = queued(mine.project)
    told = {"id": str(uuid.uuid4()), "text": "look at the logs"}
    assert press(holder(mine.project, "view_session"), session, "message", **told).status_code == 403
    client = signed_in(User.objects.create_superuser("super"))
    press(client, session, "message", **told)
    press(client, session, "message", **told)
    press(client, session, "message", id=str(uuid.uuid4()), text=" ")
    (message,) = Message.objects.filter(address__name=session.address)
    assert (message.body, message.sender_role, message.claimed_sender) == ({"text": told["text"]}, "staff", False)


def test_the_page_tells_a_watchdog_limit_that_is_ignored(mine: Planted) -> None:
    session = queued(mine.project)
    client = signed_in(User.objects.create_superuser("super"))
    assert "is ignored" not in page_of(client, session)
    Session.objects.filter(pk=session.pk).update(metadata={"child_watchdog.max_idle_secs": "an hour"})
    page = page_of(client, session)
    assert "metadata.child_watchdog.max_idle_secs" in page and "the limit of 900 s applies" in page


def test_the_buttons_do_not_reach_over_the_wall(mine: Planted, theirs: Planted) -> None:
    client = signed_in(staff("neighbour", mine.project))
    session = queued(theirs.project)
    assert press(client, session, "cancel", reason="no").status_code == 404
    assert press(client, session, "message", id=str(uuid.uuid4()), text="x").status_code == 404
    session.refresh_from_db()
    assert session.cancel_requested_at is None
    assert not Message.objects.filter(address__name=session.address).exists()


def test_other_apps_rows_are_on_the_page_only_with_their_own_permissions(mine: Planted) -> None:
    session = mine.rows[Session]
    path = f"/admin/orchestration/session/{session.pk}/change/"
    seen = holder(mine.project, "view_session").get(path).content.decode()
    assert "MINE-payload" in seen
    assert "MINE-body" not in seen and "its queue" not in seen
    assert "Cancel this session" not in seen


def test_the_list_finds_by_title_role_and_id_and_filters_the_lost(mine: Planted) -> None:
    client = signed_in(User.objects.create_superuser("super"))
    session = queued(mine.project, title="Rotate the logs", role="janitor")
    Attempt.objects.update(connection_lost_at=read_database_clock())

    def listed(**query: str) -> list[Any]:
        answer = client.get("/admin/orchestration/session/", query)
        return [row.pk for row in answer.context["cl"].result_list]

    assert listed(q="rotate") == listed(q="janitor") == listed(q=str(session.pk)) == [session.pk]
    assert session.pk not in listed(state="lost")
    assert mine.rows[Session].pk in listed(state="lost")
    assert session.pk in listed(state="open") and session.pk in listed(state="queued")


def test_the_rows_alone_are_sent_to_a_page_that_updates_itself(mine: Planted) -> None:
    client = signed_in(User.objects.create_superuser("super"))
    part = client.get("/admin/orchestration/session/", headers={"X-Requested-With": "live"}).content.decode()
    assert "MINE-title" in part and "<html" not in part


def test_the_front_page_counts_launches_that_were_not_sent(mine: Planted) -> None:
    shown = signed_in(User.objects.create_superuser("super")).get("/admin/").content.decode()
    assert "not delivered yet" in shown
    assert "launches that the broker did not accept" in shown


def test_the_front_page_says_where_the_error_of_a_failing_sweep_stands(mine: Planted) -> None:
    shown = signed_in(User.objects.create_superuser("super")).get("/admin/").content.decode()
    assert "waits (failing)" in shown
    assert "Failing: the page of the sweep has the error." in shown


def test_the_front_page_counts_only_what_its_reader_may_see(mine: Planted, theirs: Planted) -> None:
    Attempt.objects.update(connection_lost_at=read_database_clock())

    def cards(client: Client) -> dict[str, int]:
        return {
            card["name"]: card["count"] for card in client.get("/admin/orchestration/session/front/").context["cards"]
        }

    everything = cards(signed_in(User.objects.create_superuser("super")))
    assert (everything["waiting for an answer"], everything["quarantined"], everything["lost children"]) == (2, 2, 4)
    member = cards(signed_in(staff("member", mine.project)))
    assert (member["waiting for an answer"], member["quarantined"], member["lost children"]) == (1, 1, 2)
    assert set(cards(holder(mine.project, "inspect_quarantine"))) == {"quarantined"}
    assert cards(signed_in(staff("newcomer", permissions=False))) == {}


@pytest.mark.parametrize(
    ("assignment", "named"),
    [("\n#  Clean up \nrm -rf build\n", "Clean up"), ("ls\nrm x", "ls"), ("#\n\n!echo hi", "!echo hi")],
)
def test_a_session_without_a_title_is_named_by_the_first_line_that_says_something(assignment: str, named: str) -> None:
    session = Session(assignment=assignment)
    assert session_page.label(session) == named
    assert session_page.label(Session(id=session.pk, assignment=" \n#")) == str(session.pk)
    assert session_page.label(Session(assignment=assignment, title="Mine")) == "Mine"


def test_a_sessions_page_shows_each_ask_with_its_answer(mine: Planted) -> None:
    session = queued(mine.project)
    question = questions.question("how\u202e far <b>?", id="q1")
    delivery.deliver(mine.project.pk, session.address, [question, questions.question("unanswered", id="q2")])
    ask = Message.objects.get(message_id="q1")
    questions.answer(ask, {"answer": "<script>step\u2066 3"}, sender_session=session.pk, sender_role="runbook")
    client = signed_in(User.objects.create_superuser("super"))
    shown = client.get(f"/admin/orchestration/session/{session.pk}/change/").content.decode()
    assert "<script>step" not in shown and "\u202e" not in shown and "\u2066" not in shown
    assert shown.count('data-live-row="message-') == 3
    rows = [row for row in shown.split("<tr ") if 'data-live-row="message-' in row]
    assert ["unanswered" in rows[0], "far &lt;b&gt;" in rows[1], "&lt;script&gt;step" in rows[2]] == [True] * 3
    assert "runbook" in rows[2] and "↳" in rows[2]
    blind = holder(mine.project, "view_session")
    assert (
        'data-live-row="message-'
        not in blind.get(f"/admin/orchestration/session/{session.pk}/change/").content.decode()
    )


def test_a_tree_that_is_too_large_to_show_says_so_and_shows_what_is_near(
    mine: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_page, "TREE", 3)
    root = queued(mine.project, title="the top")
    for number in range(4):
        Session.objects.create(project=mine.project, parent=root, root=root.pk, depth=1, title=f"sister {number}")
    last = Session.objects.get(title="sister 3")
    Session.objects.create(project=mine.project, parent=last, root=root.pk, depth=2, title="mine below")
    shown, is_cut = session_page._tree(last)
    assert ([row["label"] for row in shown], is_cut) == (["the top", "sister 3", "mine below"], True)
    page = holder(mine.project, "view_session").get(f"/admin/orchestration/session/{last.pk}/change/")
    assert "too large to show" in page.content.decode()


def test_only_the_newest_attempts_are_on_the_page_of_a_session_and_it_says_so(
    mine: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_page, "ATTEMPTS", 2)
    session = queued(mine.project, attempt=3)
    over = {"session": session, "status": "error", "ended_at": read_database_clock()}
    Attempt.objects.bulk_create([Attempt(number=number, **over) for number in (1, 2, 3)])
    page = holder(mine.project, "view_session").get(f"/admin/orchestration/session/{session.pk}/change/")
    assert "the newest 2; REST has all of them" in page.content.decode()


def test_large_payloads_are_neither_on_a_sessions_page_nor_loaded_for_a_list(
    mine: Planted, django_assert_max_num_queries: Any
) -> None:
    session = queued(mine.project)
    with unit_of_work.transaction():
        unit_of_work.event(mine.project.pk, "large", {"text": "LARGE" * 100_000}, session=session.pk)
        unit_of_work.event(mine.project.pk, "small", {"text": "SMALL"}, session=session.pk)
    client = signed_in(User.objects.create_superuser("super"))
    page = client.get(f"/admin/orchestration/session/{session.pk}/change/").content.decode()
    assert "SMALL" in page
    assert "LARGE" not in page
    assert "too much for this page" in page
    with django_assert_max_num_queries(60) as queries:
        page = client.get("/admin/ledger/event/").content.decode()
    assert "LARGELARGE" in page
    assert len(page) < 100_000
    selected = [query["sql"].partition(" FROM ")[0] for query in queries.captured_queries]
    assert not [columns for columns in selected if '"ledger_event"."payload",' in columns]
