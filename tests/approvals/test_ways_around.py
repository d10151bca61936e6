"""Ways around a guard: around a denial by a grant, around four eyes by a session, around hiding by an execution."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import Project, User
from approvals import askers
from approvals.askers import SessionFacts
from approvals.json_schema import validation
from approvals.plans import manifests
from core.display.redaction import event_json
from core.web.problems import Problem
from ledger.models import AuditEntry
from tests.approvals.conftest import Asked, staff
from tests.approvals.grants.conftest import remember
from tests.approvals.rules.conftest import Ruled, ruled  # noqa: F401 - a fixture
from tests.approvals.rules.test_votes import answer
from tests.approvals.test_rest import Caller

pytestmark = pytest.mark.django_db

SECRET = "hunter" + "2hunter2"
WHY = "The other approver is on a plane."
Bearer = Callable[..., dict[str, str]]


@pytest.mark.parametrize("filler", ["", "," * 2500])
def test_no_grant_beats_a_denial_that_cannot_be_evaluated(
    asked: Asked,
    alice: User,
    ruled: Ruled,  # noqa: F811
    filler: str,
) -> None:
    harmless = {"risk": "low", "reversibility": "read_only"}
    granted = remember(asked(arguments={"query": "SELECT 1"}, **harmless), alice, slots={"query": {}})
    assert asked(arguments={"query": "SELECT 2"}, **harmless).grant == str(granted.remembered)
    ruled(name="no drops", match={"when": 'arguments.query.contains("DROP")'})
    assert asked(arguments={"query": "SELECT 3"}, **harmless).grant == str(granted.remembered)
    wanted = asked(arguments={"query": f"DROP TABLE people -- {filler}"}, **harmless)
    assert wanted.status == ("pending" if filler else "denied")


def test_the_owner_of_a_key_may_not_answer_what_it_asks_for_the_session_of_another(
    monkeypatch: pytest.MonkeyPatch,
    ruled: Ruled,  # noqa: F811
    project: Project,
    session: UUID,
    alice: User,
    bob: User,
    bearer: Bearer,
) -> None:
    monkeypatch.setattr(askers, "_facts_of", lambda *_: SessionFacts(owner=bob.pk))
    ruled(outcome="ask", four_eyes=True)
    own = bearer(project, alice, scopes=("approvals:ask", "approvals:decide"))
    ask = {"request_id": "r", "tool_name": "t", "permission": "p", "resource": "r", "session": str(session)}
    made = Client().post("/api/v1/approvals", ask, "application/json", headers=own).json()
    said = {"decision": "approve", "digest": made["digest"]}
    for user in (alice, bob):
        headers = bearer(project, user, scopes=("approvals:ask", "approvals:decide", "approvals:read"))
        path = f"/api/v1/approvals/{made['id']}/decide"
        refused = Client().post(path, said, "application/json", headers=headers)
        assert (refused.status_code, refused.json()["type"]) == (403, "self-approval")


def test_a_vote_by_breaking_the_glass_is_on_the_record(
    monkeypatch: pytest.MonkeyPatch,
    asked: Asked,
    ruled: Ruled,  # noqa: F811
    alice: User,
    bob: User,
) -> None:
    monkeypatch.setattr(askers, "_facts_of", lambda *_: SessionFacts(owner=alice.pk))
    ruled(outcome="ask", four_eyes=True, approvers={"quorum": 2})
    alice.user_permissions.add(Permission.objects.get(codename="break_glass"))
    approval = asked()
    assert answer(approval, User.objects.get(pk=alice.pk), break_glass=WHY).break_glass == WHY
    assert json.loads(AuditEntry.objects.get(action="approval.voted").detail)["break_glass"] == WHY
    done = answer(approval, bob)
    assert (done.status, done.break_glass) == ("approved", WHY)
    assert json.loads(AuditEntry.objects.get(action="approval.decided").detail)["break_glass"] == WHY


def test_an_execution_shows_no_more_than_what_runs(
    asked: Asked, project: Project, session: UUID, alice: User, bearer: Bearer
) -> None:
    arguments = {"password": SECRET, "folder": "/tmp"}
    approval = asked(via="rest", arguments=arguments, question=f"my password: {SECRET} is it")
    key: Any = Caller(bearer(project, alice))
    said = {"decision": "edit", "digest": approval.digest, "arguments": {"folder": "/tmp"}}
    decided = key.post(f"/{approval.id}/decide", said).json()
    taken = key.post(f"/{approval.id}/consume", {"digest": decided["digest"]})
    assert taken.status_code == 200 and taken.json()["arguments"] == {"folder": "/tmp"}
    assert SECRET not in taken.content.decode()


def test_whoever_may_see_secrets_gets_the_whole_execution(
    asked: Asked, project: Project, alice: User, bearer: Bearer
) -> None:
    approval = asked(via="rest", arguments={"password": SECRET})
    keeper = staff("keeper", project, "ask", "view_approval", "decide", "view_secrets")
    key: Any = Caller(bearer(project, keeper))
    key.post(f"/{approval.id}/decide", {"decision": "approve", "digest": approval.digest})
    taken = key.post(f"/{approval.id}/consume", {"digest": approval.digest})
    assert taken.json()["arguments"] == taken.json()["decision"]["arguments"] == {"password": SECRET}


@pytest.mark.parametrize(
    "arguments", [{"env": [{"name": "PIN", "value": "4711-4712"}]}, {"x" * 300 + "_pin": "4711-4712"}]
)
def test_the_fast_check_for_secrets_reads_labels_and_long_names(asked: Asked, arguments: Any) -> None:
    from approvals.display import copies

    assert "4711" not in json.dumps(copies.of(asked(arguments=arguments)).action)
    assert "4711" not in event_json(json.dumps({"arguments": arguments}))


def test_a_regular_expression_gets_no_text_that_is_too_long_for_it() -> None:
    schema = {"properties": {"text": {"pattern": "^[ab]*a[ab]{800}c$"}}}
    (error,) = validation.errors("arguments", schema, {"text": "ab" * 200_000})
    assert "too large to be checked" in error["detail"]
    assert validation.errors("arguments", schema, {"text": "ab" * 10})[0]["field"] == "arguments.text"
    twice = {
        "$defs": {"a": schema["properties"]["text"]},
        "allOf": [{"properties": {"text": {"$ref": "#/$defs/a"}}}] * 9,
    }
    assert validation.compiled(twice).steps > 9 * validation.compiled(schema).steps
    usual = {"properties": {"text": {"pattern": "^[a-z0-9-]{1,63}$"}}}
    assert validation.errors("arguments", usual, {"text": "a" * 60, "body": "x" * 400_000}) == []


def test_a_preview_answers_no_question_about_hidden_values(asked: Asked, project: Project, bearer: Bearer) -> None:
    asked(via="rest", arguments={"password": SECRET})
    writer = staff("writer", project, "view_approval", "change_rule")
    keeper = staff("keeper", project, "view_approval", "view_secrets", "change_rule")

    def matched(user: User, when: str) -> int:
        said = {"rule": {"name": "one", "outcome": "deny", "match": {"when": when}}, "days": 1}
        headers = bearer(project, user)
        made = Client().post("/api/v1/rules/preview", said, "application/json", headers=headers)
        assert made.status_code == 200, made.content
        return made.json()["matched"] - made.json()["undecided"]

    guess = 'arguments.password.startsWith("hunter")'
    assert matched(writer, guess) == 0
    assert matched(writer, "has(arguments.password)") == 1
    assert matched(keeper, guess) == 1


def test_a_step_whose_arguments_all_vary_can_be_made_narrower() -> None:
    step = {"tool_name": "t", "permission": "p", "resource": "r", "patterns": {"file": {"glob": "a*"}}, "count": 5}
    plan = manifests.whole({"steps": [step]})

    def narrowed(**said: Any) -> Any:
        return manifests.narrowed(plan, {**plan, "steps": [{**plan["steps"][0], **said}]})["steps"][0]

    assert narrowed(count=2)["count"] == 2
    assert narrowed(patterns=None, arguments={"file": "ab"})["arguments"] == {"file": "ab"}
    for wider in ({"patterns": None}, {"arguments": {"more": 1}}, {"patterns": {"file": {"glob": "**"}}}):
        with pytest.raises(Problem):
            narrowed(**wider)
