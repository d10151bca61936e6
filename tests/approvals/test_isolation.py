"""No request, no answer and no failure reaches beyond its project, its asker and its attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import audit_events, decisions
from approvals.decision_validation import Answer
from approvals.models import Approval
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger.audit import chain
from ledger.models import AuditEntry, Event
from tests.approvals.admin_page import page_of, press, text_of
from tests.approvals.conftest import NOON, Asked, Browser, staff
from tests.approvals.test_rest import BODY, Caller

pytestmark = pytest.mark.django_db
Bearer = Callable[..., dict[str, str]]


def approve(approval: Approval, user: User) -> Approval:
    answer = Answer(decision="approve", digest=approval.digest)
    return decisions.decide(approval.project_id, approval.id, answer, Actor.of_user(user), "admin")


def test_one_request_id_in_two_projects_is_two_requests(
    bearer: Bearer, project: Project, elsewhere: Project, alice: User, stranger: User
) -> None:
    """Nobody takes the place of another project's request, and nobody answers it by its id."""
    ours, theirs = (Caller(bearer(where, user)) for where, user in ((project, alice), (elsewhere, stranger)))
    mine, foreign = ours.post(body=BODY).json(), theirs.post(body=BODY).json()
    assert (mine["request_id"], mine["id"] != foreign["id"]) == (foreign["request_id"], True)
    assert ours.post(f"/{mine['id']}/decide", {"decision": "deny"}).status_code == 200
    assert theirs.get(f"/{foreign['id']}").json()["status"] == "pending"
    for caller, other in ((ours, foreign), (theirs, mine)):
        assert caller.post(f"/{other['id']}/decide", {"decision": "deny"}).status_code == 404
    told = {event.project_id: event.payload["approval_id"] for event in Event.objects.filter(type="approval_requested")}
    assert told == {project.pk: mine["id"], elsewhere.pk: foreign["id"]}


def test_a_person_in_no_group_of_the_project_sees_and_answers_nothing(
    asked: Asked, project: Project, browser: Browser, bearer: Bearer
) -> None:
    outsider = staff("outsider", None, "ask", "view_approval", "decide")
    outsider.groups.clear()
    approval = asked(tool_name="hidden-tool")
    with pytest.raises(Problem) as refusal:
        approve(approval, outsider)
    assert refusal.value.type in ("not-found", "not-an-approver")
    client = browser(outsider)
    assert "hidden-tool" not in text_of(client.get("/admin/approvals/approval/"))
    assert client.get(page_of(approval)).status_code in (302, 403, 404)
    assert press(client, approval, "deny").status_code in (403, 404)
    key = Caller(bearer(project, outsider))
    for answer in (key.get(), key.get(f"/{approval.id}"), key.post(f"/{approval.id}/decide", {"decision": "deny"})):
        assert answer.status_code == 401
        assert "hidden-tool" not in answer.content.decode()
    approval.refresh_from_db()
    assert approval.status == "pending"


def test_an_answer_that_breaks_off_leaves_everything_to_the_next_one(
    asked: Asked, project: Project, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(BaseException):
        pass

    def broken(*of: Any, **said: Any) -> None:
        raise Broken

    approval, other = asked(), asked()
    before = Event.objects.count(), AuditEntry.objects.count()
    with monkeypatch.context() as patched, pytest.raises(Broken):
        patched.setattr(audit_events, "record_change", broken)
        approve(approval, alice)
    approval.refresh_from_db()
    assert (approval.status, approval.decided_by) == ("pending", None)
    assert (Event.objects.count(), AuditEntry.objects.count()) == before
    assert [approve(each, bob).status for each in (approval, other)] == ["approved", "approved"]
    assert chain.verify(project.pk) is None


# --- an execution is for its asker, its attempt and its time ---------------------------------------------------


@pytest.fixture
def consume(bearer: Bearer) -> Callable[..., str]:
    """Try to take the execution with a token. Return the type of the refusal, or `taken`."""

    def take(approval: Approval, project: Project, user: User | None = None, claim: str = "x", **token: Any) -> str:
        caller = Caller(bearer(project, user, **token))
        answer = caller.post(f"/{approval.id}/consume", {"digest": approval.digest, "claim": claim})
        return "taken" if answer.status_code == 200 else str(answer.json()["type"])

    return take


def test_an_execution_is_for_no_other_asker_attempt_session_or_project(
    approved: Asked,
    consume: Callable[..., str],
    session: UUID,
    project: Project,
    elsewhere: Project,
    stranger: User,
) -> None:
    approval, executor = approved(), staff("executor", project, "ask")
    others: list[str] = [
        consume(approval, elsewhere, stranger),
        consume(approval, project, executor, scopes=["approvals:ask"]),
        consume(approval, project, session=uuid4()),
        consume(approval, project, session=session, attempt=2),
    ]
    assert others == ["not-found"] * 4
    assert consume(approval, project, executor, scopes=["approvals:read"]) in ("forbidden", "not-found")
    assert not Approval.objects.filter(consumed_at__isnull=False).exists()
    tries = [consume(approval, project, session=session, claim=claim) for claim in ("mine", "mine", "again")]
    assert tries == ["taken", "taken", "consumed"]
    assert AuditEntry.objects.filter(action="approval.consumed").count() == 1


def test_what_ended_in_any_other_way_never_runs(
    asked: Asked, consume: Callable[..., str], session: UUID, project: Project, alice: User
) -> None:
    denied, withdrawn, expired = asked(), asked(), asked(expires_in_secs=10, now=NOON)
    decisions.decide(project.pk, denied.id, Answer(decision="deny"), Actor.of_user(alice), "admin")
    decisions.withdraw(project.pk, withdrawn.id, Actor.system("tests"))
    with clock_at(NOON.replace(minute=1)):
        assert decisions.expire_due() == 1
    found = [consume(each, project, session=session) for each in (denied, withdrawn, expired)]
    assert found == ["not-approved"] * 3
    assert not Approval.objects.filter(consumed_at__isnull=False).exists()


def test_a_reader_without_a_login_learns_nothing_of_an_id(asked: Asked) -> None:
    approval = asked()
    answers = [Client().get(f"/api/v1/approvals/{id}") for id in (approval.id, uuid4())]
    assert [each.status_code for each in answers] == [401, 401]
    assert answers[0].content == answers[1].content
