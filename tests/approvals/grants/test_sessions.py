"""The sessions that a grant is for: one, a tree below one, or those of a role; and its end with its session."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actors import Actor
from accounts.models import User
from approvals import decisions
from approvals.decision_validation import Answer
from approvals.models import Grant, Plan, PlanStep
from core.db.clock import clock_at
from core.limits import LIMITS
from orchestration.maintenance import retention
from orchestration.models import Session
from orchestration.sessions import lifecycle, transitions
from orchestration.states import Status
from tests.approvals.grants.conftest import ask_as, remember
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


def granted(session: Session, by: User, ask: dict[str, Any] | None = None, **said: Any) -> Grant:
    return Grant.objects.get(id=remember(ask_as(session, **(ask or {})), by, **said).remembered)


def passes(session: Session) -> bool:
    return bool(ask_as(stages.again(session)).status == "approved")


def start_again(session: Session) -> Session:
    """Run the next attempt of a queued session."""
    session = stages.again(session)
    transitions.move(session.pk, session.attempt, Status.STARTING)
    assert lifecycle.started(session.pk, session.attempt)
    return stages.again(session)


def test_a_grant_for_a_session_is_not_for_its_descendants(alice: User) -> None:
    session = stages.running()
    below = stages.running(parent=session.pk)
    granted(session, alice)
    assert passes(session)
    assert not passes(below)


def test_a_grant_for_a_tree_reaches_down_and_never_up(alice: User) -> None:
    top = stages.running()
    middle = stages.running(parent=top.pk)
    below = stages.running(parent=middle.pk)
    granted(middle, alice, scope="tree")
    assert [passes(each) for each in (top, middle, below)] == [False, True, True]
    assert not passes(stages.running(parent=top.pk))


def test_a_grant_for_a_role_is_for_every_session_of_it(alice: User) -> None:
    first, other, none = stages.running(role="tester"), stages.running(role="tester"), stages.running()
    granted(first, alice, scope="role")
    assert [passes(each) for each in (first, other, none, stages.running(role="Tester"))] == [True, True, False, False]


def test_the_role_of_a_configured_session_is_no_label(alice: User) -> None:
    """A caller may give any session the name of a role. A grant for the role that this server set up is not for it."""
    configured, label = stages.running(role="tester"), stages.running(role="tester")
    Session.objects.filter(pk=configured.pk).update(has_role_reach=True)
    grant = granted(configured, alice, scope="role")
    assert grant.has_role_reach
    assert [passes(configured), passes(label)] == [True, False]


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.ERROR, Status.CANCELLED, Status.TIMEOUT])
def test_grants_end_with_their_session_and_those_of_its_role_go_on(alice: User, end: Status) -> None:
    session = stages.running(role="tester")
    below = stages.running(parent=session.pk)
    grants = {
        scope: granted(session, alice, {"tool_name": scope}, scope=scope) for scope in ("session", "tree", "role")
    }
    grants["below"] = granted(below, alice)
    assert lifecycle.finish(session.pk, session.attempt, end)
    ended = {name: Grant.objects.get(pk=grant.pk).end_reason for name, grant in grants.items()}
    assert ended == {"session": "session_ended", "tree": "session_ended", "role": None, "below": None}
    assert passes(below)


def test_a_retry_begins_without_the_grants_of_before(alice: User) -> None:
    session = stages.running()
    granted(session, alice)
    assert lifecycle.finish(session.pk, session.attempt, Status.ERROR)
    transitions.requeue(session.pk, session.attempt, "again", out_of={Status.ERROR})
    assert not passes(start_again(session))


def test_a_lost_attempt_an_interruption_and_a_suspension_end_no_grant(alice: User) -> None:
    session = stages.running()
    Session.objects.filter(pk=session.pk).update(retries_left=1)
    granted(session, alice, scope="tree")
    assert lifecycle.fail(session.pk, session.attempt, "lost")
    session = start_again(session)
    assert passes(session)
    below = stages.running(parent=session.pk)
    Session.objects.filter(pk=session.pk).update(restart=True)
    assert lifecycle.finish(session.pk, session.attempt, Status.CANCELLED)
    session = start_again(session)
    assert passes(session)
    assert lifecycle.suspend(session.pk, session.attempt)
    assert passes(below)


def test_an_ask_without_any_grant_costs_no_statement_more() -> None:

    session = stages.running()
    ask_as(session)
    with CaptureQueriesContext(connection) as captured:
        ask_as(session)
    looks = [query["sql"] for query in captured if "approvals_grant" in query["sql"]]
    assert len(looks) == 1
    assert 'FROM "orchestration_session"' in looks[0]


def test_retention_takes_grants_and_plans_with_the_request_of_their_birth(alice: User) -> None:
    session = stages.running()
    granted(session, alice)
    plan = ask_as(session, arguments=None, plan={"steps": [{"tool_name": "t", "permission": "p", "resource": "r"}]})
    answer = Answer(decision="approve", digest=plan.digest)
    decisions.decide(plan.project_id, plan.id, answer, Actor.of_user(alice), "admin")
    assert (Grant.objects.count(), PlanStep.objects.count()) == (1, 1)
    with clock_at(datetime.now(UTC) + timedelta(seconds=LIMITS.keep_settled_approvals_secs + 60)):
        retention.sweep()
    assert not Grant.objects.exists()
    assert not Plan.objects.exists()
    assert not PlanStep.objects.exists()
