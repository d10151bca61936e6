"""The queue page: whose requests, filters that stay, search, identical asks on one card, and answers from the list."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, consumption, decisions, fallbacks
from approvals.decision_validation import Answer
from approvals.life import ask_back, claims, routing
from approvals.models import Approval
from approvals.outcomes import unknown
from approvals.states import Fallback
from core.web.problems import Problem
from tests.approvals.admin_page import text_of
from tests.approvals.conftest import Asked, Browser, child
from tests.orchestration import stages

pytestmark = pytest.mark.django_db

QUEUE = "/admin/approvals/approval/"
ANSWERS = f"{QUEUE}answers/"
LIVE = {"X-Requested-With": "live"}


def shown(client: Client, **params: Any) -> str:
    return text_of(client.get(QUEUE, params))


def cards(text: str) -> list[str]:
    return re.findall(r'data-live-row="([^"]+)"', text)


def item(*approvals: Approval) -> str:
    return " ".join(f"{each.id}:{each.version}:{each.digest}" for each in approvals)


def status(approval: Approval) -> str:
    return Approval.objects.values_list("status", flat=True).get(pk=approval.pk)


def test_a_question_stands_on_its_card_and_first_on_its_page_in_a_frame(desk: Client, asked: Asked) -> None:
    """What the agent says beside an action is no part of the card: it is no reason to approve from there."""
    asks = {"question": "Which \x1bregion, password=hunter2secret?", "allowed_decisions": ["respond", "deny"]}
    question = asked(tool_name="ask_human", **asks)
    asked(question="It is quite harmless.")
    queue = shown(desk)
    assert "The agent asks, unverified:" in queue and "region" in queue
    for word in ("quite harmless", "hunter2secret", "\x1b"):
        assert word not in queue
    page = text_of(desk.get(reverse("admin:approvals_approval_change", args=[question.pk])))
    assert page.index("Written by the agent, unverified") < page.index("region") < page.index("Digest")
    assert page.count("Written by the agent, unverified") == 1


# --- whose requests -------------------------------------------------------------------------------------------


def test_my_queue_is_mine_and_my_groups_and_nobodys(
    desk: Client, asked: Asked, alice: User, bob: User, project: Project
) -> None:
    free, mine, theirs, ours = (asked(tool_name=name) for name in ("free", "mine", "theirs", "ours"))
    others = Group.objects.create(name="others")
    bob.groups.add(others)
    project.groups.add(others)
    foreign = asked(tool_name="foreign")
    for approval, to in ((mine, {"user": "alice"}), (theirs, {"user": "bob"}), (foreign, {"group": "others"})):
        routing.delegate(project.pk, approval.id, Actor.of_user(bob), **to)
    routing.delegate(project.pk, ours.id, Actor.of_user(bob), group="team of default")
    assert cards(shown(desk)) == [str(each.id) for each in (free, mine, ours)]
    assert cards(shown(desk, whose="groups")) == [str(ours.id)]
    assert cards(shown(desk, whose="all")) == [str(each.id) for each in (free, mine, theirs, ours, foreign)]
    assert 'data-live-count="3"' in shown(desk)


def test_a_filter_stays_for_its_login_until_it_is_taken_off(
    desk: Client, browser: Browser, bob: User, asked: Asked
) -> None:
    mail, other = asked(tool_name="mail"), asked()
    answer = desk.get(QUEUE, {"set": "1", "tool": "mail", "risk": "", "status": "pending"})
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{QUEUE}?status=pending&tool=mail")
    again = desk.get(QUEUE, follow=True)
    assert again.redirect_chain == [(f"{QUEUE}?tool=mail", 302)]
    assert cards(text_of(again)) == [str(mail.id)]
    assert len(cards(shown(browser(bob)))) == 2
    assert cards(shown(desk, status="pending")) == [str(mail.id), str(other.id)]
    desk.get(QUEUE, {"set": "1"})
    assert len(cards(shown(desk))) == 2


# --- search ---------------------------------------------------------------------------------------------------


def test_a_search_finds_words_and_ids(desk: Client, asked: Asked, alice: User) -> None:
    session = stages.running(title="Nightly release")
    found = asked(tool_name="Mailer", resource="to the board", question="May I tell them?", session=session.pk)
    asked()
    for term in ("mail", "BOARD", "tell them", str(found.id), str(found.id)[:8], str(session.pk)[:8]):
        assert cards(shown(desk, q=term)) == [str(found.id)], term
    for term in ("nothing like it", "\0", "ffffffff", "Nightly"):
        assert cards(shown(desk, q=term)) == [], term
    alice.user_permissions.add(Permission.objects.get(codename="view_session", content_type__app_label="orchestration"))
    assert cards(shown(desk, q="nightly")) == [str(found.id)]


def test_a_search_keeps_to_its_tab_and_its_project(
    desk: Client, browser: Browser, stranger: User, asked: Asked
) -> None:
    pending = asked(tool_name="mail")
    assert cards(shown(desk, q=str(pending.id), status="decided")) == []
    assert cards(shown(browser(stranger), q=str(pending.id))) == []
    assert cards(shown(browser(stranger), q="mail", whose="all")) == []


def test_a_search_and_a_card_tell_no_secret(desk: Client, asked: Asked) -> None:
    secret = "hunter2-hunter2"
    asked(arguments={"command": "login", "password": secret}, resource=f"https://me:{secret}@host/x")
    text = shown(desk)
    assert secret not in text
    assert 'name="approve"' not in text
    assert cards(shown(desk, q=secret)) == []
    assert len(cards(shown(desk, q="host/x"))) == 1


# --- identical requests ---------------------------------------------------------------------------------------


def test_identical_requests_share_a_card(desk: Client, asked: Asked, session: UUID, project: Project) -> None:
    other = Actor.system("other")
    same = [asked(), asked(), asked(session=None, attempt=None, actor=other, via="rest")]
    asked(arguments={"command": "ls -l", "folder": "/srv"})
    asked(risk="high")
    asked(question="Please?")
    text = shown(desk)
    assert len(cards(text)) == 4
    assert "3 identical requests" in text
    assert f'name="approve" value="{item(*same)}"' in text
    assert 'data-live-count="6"' in text


def test_one_press_answers_each_of_them_with_a_result_for_each(desk: Client, asked: Asked, bob: User) -> None:
    same = [asked() for _ in range(3)]
    other = asked(tool_name="other")
    decisions.decide(
        same[1].project_id, same[1].id, Answer(decision="deny", digest=same[1].digest), Actor.of_user(bob), "rest"
    )
    answer = desk.post(ANSWERS, {"approve": item(*same)}, headers=LIVE)
    assert [status(each) for each in same] == ["approved", "denied", "approved"]
    assert status(other) == "pending"
    text = text_of(answer)
    assert text.count("You approved it.") == 2
    assert "bob denied it at" in text
    assert "<html" not in text


def test_a_repeated_ask_says_who_denied_it_before(desk: Client, asked: Asked, alice: User, bob: User) -> None:
    first = asked()
    assert "by bob" not in shown(desk)
    decisions.decide(first.project_id, first.id, Answer(decision="deny"), Actor.of_user(bob), "rest")
    again = asked()
    text = shown(desk, status="pending")
    assert cards(text) == [str(again.id)]
    assert re.search(r'class="ap-denied">denied <time [^>]*>[^<]*</time> by bob', text)
    asked(resource="ls -la")
    assert shown(desk).count("ap-denied") == 1


# --- answers from the queue -----------------------------------------------------------------------------------


def test_a_denial_of_many_takes_one_message(desk: Client, asked: Asked) -> None:
    one, other, left = asked(risk="critical"), asked(tool_name="mail", arguments={"text": "x" * 5000}), asked()
    posted = {"batch": "deny", "items": [item(one), item(other)], "message": "Not\r\ntoday."}
    assert desk.post(ANSWERS, posted).status_code == 200
    for approval in (one, other):
        approval.refresh_from_db()
        assert (approval.status, approval.message, approval.decided_via) == ("denied", "Not\ntoday.", "admin")
    assert status(left) == "pending"


@pytest.mark.parametrize(
    "said",
    [
        {"risk": "high"},
        {"risk": "critical"},
        {"arguments": {"command": "x" * 400}},
        {"arguments": {"command": "one\ntwo"}},
        {"arguments": {"text": "x" * 20_000}},
        {"arguments": {"command": "ls\u202e"}},
        {"arguments": {"command": "cat p\u0430ypal"}},
        {"preconditions": [{"name": "head", "value_hash": "a", "shown": "b"}]},
        {"allowed_decisions": ["respond"], "arguments": None},
        {"allowed_decisions": ["edit", "deny"]},
    ],
)
def test_what_a_card_does_not_show_whole_is_not_approved_from_it(desk: Client, asked: Asked, said: Any) -> None:
    approval, other = asked(**said), asked(resource="another one")
    text = shown(desk)
    assert f'name="approve" value="{item(approval)}"' not in text
    assert f'name="approve" value="{item(other)}"' in text
    for posted in ({"approve": item(approval)}, {"batch": "approve", "items": [item(approval), item(other)]}):
        assert "open its page first" in text_of(desk.post(ANSWERS, posted, headers=LIVE))
        assert status(approval) == "pending"
    assert status(other) == "approved"


def test_a_request_with_a_verdict_of_a_reviewer_must_be_opened(desk: Client, asked: Asked) -> None:
    approval = asked()
    review = {"reviewer": "careful", "rule": "shells", "rule_version": 1, "state": "waiting", "note": None, "at": None}
    review |= {"may_allow": False, "message": None, "has_answered": False, "deadline_at": "2026-01-31T12:00:00.000000Z"}
    Approval.objects.filter(pk=approval.pk).update(reviews=[review])
    assert f'name="approve" value="{item(approval)}"' in shown(desk)
    Approval.objects.filter(pk=approval.pk).update(reviews=[review | {"state": "ask", "note": "Ask the owner."}])
    assert f'name="approve" value="{item(approval)}"' not in shown(desk)
    assert "A reviewer has given a verdict" in text_of(desk.post(ANSWERS, {"approve": item(approval)}, headers=LIVE))
    assert status(approval) == "pending"


def test_a_request_whose_asker_went_on_or_was_asked_back_must_be_opened(
    desk: Client, asked: Asked, alice: User, session: UUID, project: Project
) -> None:
    ran, questioned = asked(), asked()
    fallbacks.record(project.pk, ran.id, Fallback.PROCEED, child(session))
    ask_back.ask(project.pk, questioned.id, Actor.of_user(alice), question="Why?")
    questioned.refresh_from_db()
    text = shown(desk)
    assert "ran without an answer" in text
    for approval in (ran, questioned):
        desk.post(ANSWERS, {"approve": item(approval)})
        assert status(approval) == "pending"


def test_a_card_shows_all_that_it_lets_approve(desk: Client, asked: Asked) -> None:
    asked(resource="prod-db", permission="admin", arguments={"command": "psql", "host": "db1", "force": True})
    text = shown(desk)
    for words in ("psql", "resource: prod-db", "host: db1", "force: true", "admin"):
        assert words in text
    asked(tool_name="sh", resource="/srv/app", arguments={"command": "make", "folder": "/srv/app"})
    assert "make · folder: /srv/app" in (text := shown(desk)) and "resource: /srv/app" not in text


@pytest.mark.parametrize(
    ("posted", "code"),
    [
        ({}, 422),
        ({"batch": "approve"}, 422),
        ({"batch": "edit", "items": "x"}, 422),
        ({"approve": "x"}, 422),
        ({"approve": "a:b:c", "deny": "a:b:c"}, 422),
        ({"deny": "\0"}, 422),
    ],
)
def test_a_form_that_names_nothing_decides_nothing(desk: Client, asked: Asked, posted: Any, code: int) -> None:
    approval = asked()
    assert desk.post(ANSWERS, posted).status_code == code
    assert status(approval) == "pending"


def test_at_most_a_hundred_at_once(desk: Client, asked: Asked) -> None:
    approval = asked()
    many = " ".join(f"{UUID(int=number)}:1:x" for number in range(100))
    answer = desk.post(ANSWERS, {"deny": f"{item(approval)} {many}"})
    assert answer.status_code == 422
    assert status(approval) == "pending"


def test_an_answer_must_carry_what_was_shown(desk: Client, asked: Asked, alice: User, project: Project) -> None:
    approval = asked()
    before = item(approval)
    routing.escalate(project.pk, approval.id, Actor.of_user(alice))
    assert "version 2" in text_of(desk.post(ANSWERS, {"approve": before}, headers=LIVE))
    desk.post(ANSWERS, {"approve": f"{approval.id}:2:{'0' * 64}"})
    assert status(approval) == "pending"


def test_who_may_only_look_and_who_is_foreign_answer_nothing(
    browser: Browser, viewer: User, stranger: User, asked: Asked
) -> None:
    approval = asked()
    assert 'name="deny"' not in shown(browser(viewer))
    for user in (viewer, stranger):
        answer = browser(user).post(ANSWERS, {"deny": item(approval)}, headers=LIVE)
        assert "ap-refused" in text_of(answer)
        assert status(approval) == "pending"
    assert "nothing here by that id" in text_of(answer)


def test_looking_and_a_missing_token_decide_nothing(desk: Client, alice: User, asked: Asked) -> None:
    approval = asked()
    assert desk.get(ANSWERS, {"deny": item(approval)}).status_code == 302
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post(ANSWERS, {"deny": item(approval)}).status_code == 403
    assert status(approval) == "pending"


def test_a_claim_from_the_queue(desk: Client, asked: Asked, bob: User, project: Project) -> None:
    free, taken = asked(), asked(resource="taken")
    claims.claim(project.pk, taken.id, Actor.of_user(bob))
    assert "Others see" in text_of(desk.post(ANSWERS, {"claim": item(free)}, headers=LIVE))
    assert "bob looks at it" in text_of(desk.post(ANSWERS, {"claim": item(taken)}, headers=LIVE))
    assert "alice looks at it" in shown(desk)


def test_what_was_just_settled_says_by_whom(desk: Client, asked: Asked, bob: User) -> None:
    approval = asked()
    with pytest.raises(Problem):
        decisions.decide(approval.project_id, approval.id, Answer(decision="nonsense"), Actor.of_user(bob), "rest")
    assert "data-recent" not in shown(desk)
    decisions.decide(approval.project_id, approval.id, Answer(decision="deny"), Actor.of_user(bob), "rest")
    text = shown(desk, status="pending")
    assert f'data-recent="{approval.id}"' in text
    assert re.search(r"denied</span> by bob", text)
    assert "just-settled" not in shown(desk, status="decided")


def test_an_answer_is_told_once(desk: Client, asked: Asked) -> None:
    approval = asked()
    answered = text_of(desk.post(ANSWERS, {"deny": item(approval)}))
    assert f'data-told="{approval.id}"' in answered
    assert "data-recent" not in answered
    assert f'data-recent="{approval.id}"' in shown(desk, status="pending")


# --- numbers --------------------------------------------------------------------------------------------------


def test_the_card_of_the_front_page_and_the_tab_count_alike(
    desk: Client, asked: Asked, approved: Asked, alice: User, session: UUID, project: Project
) -> None:
    may_still_run = approved(session=None, attempt=None, actor=Actor.system("other"), via="rest")
    spent = approved()
    asked(resource="pending")
    doubtful = approved(resource="doubtful")
    consumption.consume(project.pk, doubtful.id, digest=doubtful.digest, claim="mine", actor=child(session))
    unknown.attempt_ended(session, 1, in_order=False)
    attempt_clock.settle(session, 1)
    tab = shown(desk, status="never-run")
    assert cards(tab) == [str(spent.id)]
    assert cards(shown(desk, status="unconsumed")) == [str(may_still_run.id), str(spent.id)][::-1]
    front = text_of(desk.get(reverse("admin:orchestration_session_front")))
    addresses = {
        "approved, never run": "status=never-run",
        "waiting for an answer": "whose=all",
        "unknown outcomes": "status=unknown",
    }
    for name, address in addresses.items():
        href, number = re.findall(
            rf'href="([^"]*)">\s*<span class="wr-number"[^>]*>(\d+)</span>\s*<span class="wr-name">{name}', front
        )[0]
        assert address in href
        assert len(cards(text_of(desk.get(href)))) == int(number), name
