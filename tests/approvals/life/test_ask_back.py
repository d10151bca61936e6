"""A question to the asker: asked while the request waits, answered once, shown to people, and no decision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import decisions
from approvals.decision_validation import Answer
from approvals.life import ask_back
from approvals.models import Approval, Question
from core.web.problems import Problem
from ledger.models import Event
from tests.approvals.admin_page import page_of, text_of
from tests.approvals.conftest import Asked, child
from tests.approvals.racing import all_at_once
from tests.approvals.test_rest import Caller

pytestmark = pytest.mark.django_db

Bearer = Callable[..., dict[str, str]]


def ask(approval: Approval, by: User, question: str = "Which host?") -> Question:
    ask_back.ask(approval.project_id, approval.id, Actor.of_user(by), question)
    return Question.objects.get(question=question)


def answer(question: Question, said: str = "host-1", by: Actor | None = None) -> Approval:
    approval = question.approval
    asker = by or child(approval.session or uuid4())
    return ask_back.answer(approval.project_id, question.id, said, asker, approval_id=approval.id)


def version_after(question: Question, said: str) -> int:
    return answer(question, said).version


def refused(question: Question, said: str = "host-1", by: Actor | None = None) -> str:
    with pytest.raises(Problem) as refusal:
        answer(question, said, by)
    return refusal.value.type


def test_the_request_stays_pending_and_its_version_rises_twice(asked: Asked, alice: User) -> None:
    approval = asked()
    question = ask(approval, alice)
    approval.refresh_from_db()
    assert (approval.status, approval.version, approval.open_questions) == ("pending", 2, 1)
    after = answer(question)
    assert (after.status, after.version, after.open_questions) == ("pending", 3, 0)
    with pytest.raises(Problem) as refusal:
        decisions.decide(
            approval.project_id,
            approval.id,
            Answer(decision="approve", digest=approval.digest, version=2),
            Actor.of_user(alice),
            "admin",
        )
    assert refusal.value.type == "version-conflict"


def test_a_question_takes_one_answer(asked: Asked, alice: User) -> None:
    question = ask(asked(), alice)
    answer(question)
    assert answer(question).version == 3
    assert refused(question, "host-2") == "already-answered"
    assert Question.objects.get().answer == "host-1"


def test_only_the_asker_answers(asked: Asked, alice: User) -> None:
    question = ask(asked(), alice)
    assert refused(question, by=Actor.of_user(alice)) == "forbidden"
    assert refused(question, by=child(uuid4())) == "not-found"
    assert refused(question, by=child(question.approval.session or uuid4(), 2)) == "not-found"


def test_after_the_decision_nobody_asks_or_answers(asked: Asked, alice: User) -> None:
    approval = asked()
    question = ask(approval, alice)
    decisions.decide(approval.project_id, approval.id, Answer(decision="deny"), Actor.of_user(alice), "admin")
    assert refused(question) == "already-decided"
    with pytest.raises(Problem, match="denied"):
        ask_back.ask(approval.project_id, approval.id, Actor.of_user(alice), "And now?")


def test_questions_are_bounded_and_none_is_empty(asked: Asked, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_back, "MOST_QUESTIONS", 1)
    approval = asked()
    ask(approval, alice)
    for question, kind in (("More?", "too-many"), ("", "invalid"), ("x" * 16385, "invalid"), ("\0", "invalid")):
        with pytest.raises(Problem) as refusal:
            ask_back.ask(approval.project_id, approval.id, Actor.of_user(alice), question)
        assert refusal.value.type == kind
    approval.refresh_from_db()
    assert (approval.open_questions, approval.version) == (1, 2)


@pytest.mark.django_db(transaction=True)
def test_two_answers_at_once_keep_one(asked: Asked, alice: User) -> None:
    question = ask(asked(), alice)
    results = all_at_once([partial(version_after, question, f"host-{n}") for n in range(4)])
    assert sorted(map(str, results)) == ["3", *["already-answered"] * 3]
    assert Approval.objects.get().open_questions == 0


@pytest.mark.django_db(transaction=True)
def test_the_same_answer_sent_twice_at_once_is_one_answer(asked: Asked, alice: User) -> None:
    question = ask(asked(), alice)
    assert all_at_once([partial(version_after, question, "host-1") for _ in range(6)]) == [3] * 6


def test_it_is_asked_and_shown_in_the_admin(desk: Client, asked: Asked) -> None:
    approval = asked()
    step = page_of(approval).replace("/change/", "/step/")
    shown = text_of(desk.post(step, {"step": "ask_back", "question": "Which <b>host</b>?"}, follow=True))
    assert "Which &lt;b&gt;host&lt;/b&gt;?" in shown
    assert "No answer yet." in shown
    answer(Question.objects.get(), "host\u202e-1")
    shown = text_of(desk.get(page_of(approval)))
    assert "host\\u{202e}-1" in shown
    assert "Written by the agent, unverified, at" in shown


def test_it_is_asked_and_answered_by_rest(bearer: Bearer, project: Project, alice: User, asked: Asked) -> None:
    approval = asked()
    staff, asker = Caller(bearer(project, alice)), Caller(bearer(project, session=approval.session))
    path = f"/{approval.id}"
    told = staff.post(f"{path}/ask-back", {"question": "Which host?"}).json()
    assert (told["open_questions"], told["status"], told["version"]) == (1, "pending", 2)
    waited = asker.get(f"{path}/wait", timeout=20, version=1).json()
    assert (waited["status"], waited["timed_out"], waited["version"]) == ("pending", False, 2)
    assert asker.get(f"{path}/wait", timeout=0, version=2).json()["timed_out"] is True
    (question,) = asker.get(f"{path}/questions").json()["results"]
    assert (question["question"], question["answer"]) == ("Which host?", None)
    place = f"{path}/questions/{question['id']}/answer"
    assert staff.post(place, {"answer": "x"}).status_code in (403, 404)
    assert asker.post(place, {"answer": ""}).status_code == 422
    assert asker.post(place, {"answer": "host-1"}).json()["open_questions"] == 0
    assert asker.post(place, {"answer": "host-2"}).json()["type"] == "already-answered"
    assert asker.post(f"{path}/questions/{uuid4()}/answer", {"answer": "x"}).status_code == 404
    assert staff.get(f"{path}/questions").json()["results"][0]["answer"] == "host-1"


def test_the_feed_tells_of_both_with_a_reason(asked: Asked, alice: User) -> None:
    answer(ask(asked(), alice))
    found: list[Any] = [
        Event.objects.get(type=f"approval_{kind}").payload["reason"] for kind in ("asked_back", "answered")
    ]
    assert found == ["asked", "answered"]
