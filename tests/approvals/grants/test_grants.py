"""A grant answers the later requests that its person saw, and no other ones."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission

from accounts import credentials, scopes
from accounts.actors import Actor
from accounts.models import Project, User
from approvals import askers, attempt_clock, consumption, decisions, schemas
from approvals.decision_validation import Answer
from approvals.grants import bounds, endings, selectors
from approvals.models import Approval, Grant
from approvals.outcomes import unknown
from approvals.rules import editing
from approvals.rules.bodies import RuleBody, RuleMatch
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import NOON, Asked
from tests.approvals.grants.conftest import HARMLESS, Remembered, remember

pytestmark = pytest.mark.django_db


def status(approval: Approval) -> str:
    return str(approval.status)


def refused(approval: Approval, by: User, **said: Any) -> list[str]:
    with pytest.raises(Problem) as refusal:
        remember(approval, by, **said)
    approval.refresh_from_db()
    assert (approval.status, Grant.objects.count()) == ("pending", 0)
    return [error["field"] for error in refusal.value.extra["errors"]]


def test_the_same_action_passes_and_names_its_grant(asked: Asked, remembered: Remembered) -> None:
    grant = remembered(uses=2)
    later = asked(**HARMLESS)
    assert (later.status, later.decision_kind, later.decided_via) == ("approved", "approve", "rule")
    assert later.rule == f"grant:{grant.id}"
    assert (later.decided_by or {})["name"] == f"the grant {str(grant.id)[:8]} of alice"
    shown = schemas.approval(later)
    assert (shown.grant, shown.remembered) == (str(grant.id), None)
    born = schemas.approval(Approval.objects.get(id=grant.approval_id))
    assert (born.grant, born.remembered) == (None, str(grant.id))
    assert Event.objects.filter(type="approval_decided").latest("pk").payload["rule"] == later.rule
    audit = AuditEntry.objects.filter(action="approval.decided", subject=f"approval:{later.id}").get()
    assert json.loads(audit.detail)["rule"] == later.rule
    grant.refresh_from_db()
    assert (grant.used, grant.left) == (1, 1)
    assert grant.last_used_at is not None
    assert attempt_clock.clock(grant.session, 1).pending == 0


def test_its_life_is_in_the_feed_and_the_audit(asked: Asked, remembered: Remembered) -> None:
    grant = remembered(uses=1)
    asked(**HARMLESS)
    assert [event.type for event in Event.objects.filter(type__startswith="grant").order_by("pk")] == [
        "grant_created",
        "grant_ended",
    ]
    created, ended = AuditEntry.objects.filter(subject=f"grant:{grant.id}").order_by("number")
    assert (created.action, created.actor) == ("grant.created", f"user:{grant.person_id}")
    birth = json.loads(created.detail)
    assert (birth["approval_id"], birth["uses"]) == (str(grant.approval_id), 1)
    assert (ended.action, json.loads(ended.detail)["reason"]) == ("grant.ended", "used_up")
    assert "ls -l" not in str([created.detail, ended.detail])


@pytest.mark.parametrize(
    "changed",
    [
        {"tool_name": "Shell"},
        {"tool_name": "sh\u0435ll"},
        {"permission": "Execute"},
        {"resource": "ls"},
        {"arguments": {"command": "ls -l"}},
        {"arguments": {"command": "ls -l", "folder": "/tmp", "more": None}},
        {"arguments": {"command": "ls -l", "folder": "/etc"}},
        {"tool_schema_version": "2"},
        {"risk": "high"},
        {"reversibility": "irreversible"},
        {"preconditions": [{"name": "head", "value_hash": "1", "shown": "1"}]},
        {"allowed_decisions": ["deny", "edit"]},
    ],
)
def test_anything_else_is_asked_again(asked: Asked, remembered: Remembered, changed: dict[str, Any]) -> None:
    grant = remembered()
    assert status(asked(**HARMLESS | changed)) == "pending"
    grant.refresh_from_db()
    assert grant.used == 0
    assert status(asked(**HARMLESS)) == "approved"


def test_the_facts_of_an_action_are_part_of_it(asked: Asked, remembered: Remembered) -> None:
    facts = [{"name": "head", "value_hash": "1", "shown": "main"}]
    remembered({"preconditions": facts})
    assert status(asked(**HARMLESS, preconditions=facts)) == "approved"
    assert status(asked(**HARMLESS, preconditions=[facts[0] | {"value_hash": "2"}])) == "pending"
    assert status(asked(**HARMLESS)) == "pending"


def test_another_session_and_another_project_ask_again(
    asked: Asked, remembered: Remembered, project: Project, elsewhere: Project, session: UUID
) -> None:
    remembered()
    other = uuid4()
    attempt_clock.open(project.pk, other, 1)
    assert status(asked(**HARMLESS, session=other)) == "pending"
    Grant.objects.update(project=elsewhere)
    assert status(asked(**HARMLESS)) == "pending"


def test_a_session_keeps_its_grant_in_its_next_attempt(
    asked: Asked, remembered: Remembered, project: Project, session: UUID
) -> None:
    remembered()
    attempt_clock.settle(session, 1)
    attempt_clock.open(project.pk, session, 2)
    assert status(asked(**HARMLESS, attempt=2)) == "approved"


def test_named_arguments_vary_within_their_bounds(asked: Asked, remembered: Remembered) -> None:
    ask = {"tool_name": "write", "resource": "src/a.py", "arguments": {"path": "src/a.py", "n": 1, "who": "x"}}
    grant = remembered(ask, slots={"path": {"glob": "src/*.py"}, "n": {"enum": [1, 2]}})
    assert grant.resource_slot == "path"

    def later(path: str, resource: str | None = None, **arguments: Any) -> str:
        said = {"path": path, "n": 1, "who": "x"} | arguments
        return status(asked(**HARMLESS | ask | {"resource": resource or path, "arguments": said}))

    assert later("src/b.py") == "approved"
    assert later("src/b.py", n=2.0) == "approved"
    assert later("src/b.py", n=3) == "pending"
    assert later("src/b.py", who="y") == "pending"
    assert later("src/b.py", more=1) == "pending"
    assert later("src/b.py", resource="src/a.py") == "pending"
    assert later("src/../b.py") == "pending"
    assert later("src/b.py\n") == "pending"
    assert status(asked(**HARMLESS | ask | {"arguments": {"path": "src/a.py", "who": "x"}})) == "pending"
    assert status(asked(**HARMLESS | ask | {"arguments": {"path": None, "n": 1, "who": "x"}})) == "pending"
    assert status(asked(**HARMLESS | ask | {"arguments": None})) == "pending"


def test_an_edit_remembers_what_was_edited_and_not_what_was_asked(asked: Asked, remembered: Remembered) -> None:
    edited = {"command": "ls", "folder": "/srv"}
    grant = remembered(arguments=edited, uses=1)
    assert status(asked(**HARMLESS)) == "pending"
    assert status(asked(**HARMLESS, arguments=edited)) == "approved"
    assert status(asked(**HARMLESS, arguments=edited)) == "pending"
    grant.refresh_from_db()
    assert (grant.used, grant.end_reason) == (1, "used_up")


def test_a_grant_ends_by_the_clock_of_the_database(asked: Asked, remembered: Remembered) -> None:
    """F49."""
    grant = remembered(now=NOON, expires_in_secs=60)
    assert grant.expires_at == NOON + timedelta(seconds=60)
    for before in (timedelta(seconds=59), timedelta(seconds=59, microseconds=999_999)):
        assert status(asked(**HARMLESS, now=NOON + before)) == "approved"
    assert status(asked(**HARMLESS, now=NOON + timedelta(seconds=60))) == "pending"
    with clock_at(NOON + timedelta(seconds=60)):
        assert selectors.state(selectors.find(grant.project_id, grant.id)) == "expired"


def test_a_grant_has_bounds_that_nobody_named(remembered: Remembered) -> None:
    grant = remembered(now=NOON)
    assert (grant.uses, grant.expires_at) == (bounds.MOST_USES, NOON + timedelta(seconds=bounds.USUAL_SECS))


def test_after_a_revocation_nothing_passes(asked: Asked, remembered: Remembered, bob: User) -> None:
    grant = remembered()
    revoked = endings.revoke(grant.project_id, grant.id, Actor.of_user(bob))
    assert (revoked.end_reason, (revoked.ended_by or {})["user"]) == ("revoked", "bob")
    assert status(asked(**HARMLESS)) == "pending"
    again = endings.revoke(grant.project_id, grant.id, Actor.of_user(bob))
    assert again.ended_at == revoked.ended_at
    assert AuditEntry.objects.filter(action="grant.revoked").count() == 1


def test_what_a_grant_let_through_before_its_revocation_stays_approved(
    asked: Asked, remembered: Remembered, bob: User, project: Project
) -> None:
    """As after a change of the rules: it runs once. A rule that denies stops that too."""
    grant = remembered()
    before, stopped = asked(**HARMLESS), asked(**HARMLESS)
    endings.revoke(grant.project_id, grant.id, Actor.of_user(bob))
    asker = Actor.system("test")
    consumption.consume(project.pk, before.id, digest=before.digest, actor=asker)
    editing.create(project.pk, RuleBody(name="no more", outcome="deny", match=RuleMatch(tools=["shell"])), asker)
    with pytest.raises(Problem) as refusal:
        consumption.consume(project.pk, stopped.id, digest=stopped.digest, actor=asker)
    assert refusal.value.type == "policy-changed"


def test_only_a_person_who_may_answer_revokes(
    remembered: Remembered, viewer: User, stranger: User, elsewhere: Project
) -> None:
    grant = remembered()
    for user in (viewer, stranger):
        with pytest.raises(Problem) as refusal:
            endings.revoke(grant.project_id, grant.id, Actor.of_user(user))
        assert refusal.value.type == "not-an-approver"
    with pytest.raises(Problem) as refusal:
        endings.revoke(elsewhere.pk, grant.id, Actor.of_user(stranger))
    assert refusal.value.type == "not-found"


def _loses_the_permission(alice: User) -> None:
    alice.user_permissions.remove(Permission.objects.get(codename="decide", content_type__app_label="approvals"))


def _leaves_the_project(alice: User) -> None:
    alice.groups.clear()


def _is_made_inactive(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)


def test_a_repeat_of_an_action_that_may_have_run_is_for_people(
    asked: Asked, remembered: Remembered, project: Project
) -> None:
    remembered()
    first = asked(**HARMLESS)
    consumption.consume(project.pk, first.id, digest=first.digest, actor=Actor.system("test"))
    assert status(asked(**HARMLESS)) == "approved"
    assert first.session is not None
    unknown.note(first.session, first.request_id, "the process died")
    assert asked(**HARMLESS).repeat_warning is not None
    assert status(asked(**HARMLESS)) == "pending"


@pytest.mark.parametrize("change", [_loses_the_permission, _leaves_the_project, _is_made_inactive, User.delete])
def test_a_grant_carries_no_further_than_its_person(
    asked: Asked, remembered: Remembered, alice: User, change: Any
) -> None:
    grant = remembered()
    assert selectors.find(grant.project_id, grant.id).is_carried
    change(alice)
    assert status(asked(**HARMLESS)) == "pending"
    assert not selectors.find(grant.project_id, grant.id).is_carried


def test_a_grant_of_a_key_ends_with_the_key(asked: Asked, project: Project, alice: User) -> None:
    key = credentials.check(credentials.mint(kind="api", project=project, user=alice, scopes=scopes.ALL)[1])
    assert key is not None
    approval = asked(**HARMLESS)
    answer = Answer(decision="approve", digest=approval.digest, remember={"scope": "session"})
    decisions.decide(project.pk, approval.id, answer, Actor.of_credential(key), "rest")
    assert status(asked(**HARMLESS)) == "approved"
    credentials.end(key.pk, Actor.of_user(alice))
    assert status(asked(**HARMLESS)) == "pending"


@pytest.mark.parametrize(
    ("ask", "said", "field"),
    [
        ({"allowed_decisions": ["respond"], "question": "which?"}, {}, "decision"),
        ({"risk": "critical"}, {"scope": "tree"}, "remember"),
        ({"risk": "critical"}, {"slots": {"folder": {}}}, "remember"),
        ({"reversibility": "irreversible"}, {"slots": {"folder": {}}}, "remember.slots"),
        ({}, {"scope": "role"}, "remember.scope"),
        ({}, {"scope": "everybody"}, "remember.scope"),
        ({}, {"exact": True, "slots": {"folder": {}}}, "remember.exact"),
        ({}, {"exact": False}, "remember.exact"),
        ({}, {"slots": {}}, "remember.slots"),
        ({}, {"slots": {"nothing": {}}}, "remember.slots.nothing"),
        ({}, {"slots": {"folder": {"glob": "/srv/*"}}}, "remember.slots.folder"),
        ({}, {"slots": {"folder": {"glob": "/*", "prefix": "/"}}}, "remember.slots"),
        ({}, {"slots": {"folder": {"regex": ".*"}}}, "remember.slots"),
        ({}, {"slots": {"folder": {"enum": []}}}, "remember.slots"),
        ({}, {"slots": {"folder": {"enum": [2**53]}}}, "remember.slots"),
        ({}, {"slots": {"folder": {"enum": ["/etc"]}}}, "remember.slots.folder"),
        ({}, {"slots": {"folder": {"prefix": "a\n"}}}, "remember.slots"),
        ({"arguments": {"folder": ["/tmp"]}}, {"slots": {"folder": {}}}, "remember.slots.folder"),
        ({"arguments": {"password": "hunter2-hunter2"}}, {"slots": {"password": {}}}, "remember.slots.password"),
        ({}, {"uses": 0}, "remember.uses"),
        ({}, {"uses": bounds.MOST_USES + 1}, "remember.uses"),
        ({}, {"expires_in_secs": bounds.LONGEST_SECS + 1}, "remember.expires_in_secs"),
        ({}, {"for_ever": True}, "remember.for_ever"),
    ],
)
def test_nothing_wider_than_was_seen_can_be_remembered(
    asked: Asked, alice: User, ask: dict[str, Any], said: dict[str, Any], field: str
) -> None:
    assert refused(asked(**HARMLESS | ask), alice, **said)[0] == field


def test_the_gravest_actions_are_remembered_exactly(asked: Asked, remembered: Remembered) -> None:
    grave = {"risk": "critical", "reversibility": "irreversible"}
    remembered(grave)
    assert status(asked(**grave)) == "approved"


def test_a_request_without_a_session_is_not_remembered(asked: Asked, alice: User, project: Project) -> None:
    key = credentials.check(credentials.mint(kind="api", project=project, user=alice, scopes=scopes.ALL)[1])
    assert key is not None
    alone = asked(**HARMLESS, session=None, attempt=None, via="rest", actor=Actor.of_credential(key))
    assert refused(alone, alice) == ["remember"]


def test_a_denial_is_not_remembered(asked: Asked, alice: User) -> None:
    approval = asked(**HARMLESS)
    with pytest.raises(Problem) as refusal:
        answer = Answer(decision="deny", remember={"scope": "session"})
        decisions.decide(approval.project_id, approval.id, answer, Actor.of_user(alice), "admin")
    assert refusal.value.extra["errors"] == [{"field": "remember", "detail": "only an approval can be remembered"}]


def test_a_repeated_answer_makes_no_second_grant_and_promises_none(asked: Asked, alice: User) -> None:
    first = remember(asked(**HARMLESS), alice)
    assert remember(first, alice).remembered == first.remembered
    plain = asked(arguments={"command": "other"})
    answer = Answer(decision="approve", digest=plain.digest)
    decisions.decide(plain.project_id, plain.id, answer, Actor.of_user(alice), "admin")
    with pytest.raises(Problem) as refusal:
        remember(plain, alice)
    assert refusal.value.type == "already-decided"
    assert Grant.objects.count() == 1


def test_a_session_has_so_many_grants_and_no_more(asked: Asked, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_LIVE", 2)
    for number in range(2):
        remember(asked(**HARMLESS, arguments={"n": number}), alice)
    last = asked(**HARMLESS, arguments={"n": 2})
    with pytest.raises(Problem) as refusal:
        remember(last, alice)
    assert refusal.value.extra["errors"][0]["field"] == "remember"


def test_a_grant_made_as_the_attempt_ends_has_ended_with_it(asked: Asked, alice: User, session: UUID) -> None:
    """The decision holds the row of the request, so the end of the attempt leaves it out."""
    approval = asked(**HARMLESS)
    attempt_clock.settle(session, 1)
    Approval.objects.filter(id=approval.id).update(status="pending", cancel_reason=None, settled_at=None)
    grant = Grant.objects.get(id=remember(approval, alice).remembered)
    assert grant.end_reason == "session_ended"


def test_a_disabled_tool_is_denied_in_spite_of_a_grant(
    asked: Asked, remembered: Remembered, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered()
    monkeypatch.setattr(askers, "_facts_of", lambda *_: askers.SessionFacts(disabled_tools=frozenset({"shell"})))
    assert status(asked(**HARMLESS)) == "denied"
