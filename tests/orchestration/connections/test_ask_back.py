"""A person's question about a pending request reaches its child, on this connection or the next, once on each."""

from __future__ import annotations

from typing import Any

from accounts import projects
from approvals.life import ask_back
from approvals.models import Approval, Question
from tests.orchestration.connections.conftest import Server, Spawn
from tests.orchestration.connections.test_approvals import STAFF, ask, decide


def ask_about(request: str, question: str = "Which host?") -> Question:
    approval = Approval.objects.get(request_id=request)
    ask_back.ask(projects.default().pk, approval.id, STAFF(), question)
    return Question.objects.get(question=question)


def test_a_question_and_its_answer(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        question = ask_about(request)
        heard: dict[str, Any] = peer.hear("approval_question")
        assert (heard["id"], heard["request"], heard["question"]) == (str(question.id), request, "Which host?")
        peer.say("approval_answer", id=heard["id"], answer="host-1")
        assert peer.hear("approval_answered")["id"] == heard["id"]
        peer.say("approval_answer", id=heard["id"], answer="host-1")
        assert peer.hear("approval_answered")["id"] == heard["id"]
        peer.say("approval_answer", id=heard["id"], answer="host-2")
        assert peer.hear("error")["code"] == "already-answered"
        decide(request)
        assert peer.hear("approval_reply")["version"] == 3
    question.refresh_from_db()
    assert question.answer == "host-1"


def test_a_question_waits_for_the_next_connection(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        peer.drop()
    question = ask_about(request)
    with server.child(child, run=False) as peer:
        assert peer.hear("approval_question")["id"] == str(question.id)
        ask_about(request, "And when?")
        assert peer.hear("approval_question")["question"] == "And when?"
        peer.drop()
    with server.child(child, run=False) as peer:
        assert [peer.hear("approval_question")["question"] for _ in range(2)] == ["Which host?", "And when?"]


def test_a_settled_request_asks_no_more(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        peer.drop()
    question = ask_about(request)
    decide(request, "deny")
    with server.child(child, run=False) as peer:
        assert peer.hear("approval_reply")["decision"] == "denied"
        peer.say("approval_answer", id=str(question.id), answer="late")
        assert peer.hear("error")["code"] == "already-decided"
        peer.say("approval_answer", id="no such question", answer="x")
        assert peer.hear("error")["code"] == "not-found"
