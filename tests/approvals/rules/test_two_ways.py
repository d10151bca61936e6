"""One person answers at once by several ways, in the admin and by REST with two keys: they are one person."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import Project, User
from approvals import askers
from approvals.askers import SessionFacts
from approvals.models import Approval, Vote
from ledger.audit import chain
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import Asked
from tests.approvals.racing import all_at_once
from tests.approvals.rules.conftest import Ruled

pytestmark = pytest.mark.django_db(transaction=True)
WHY = "The other approver is on a plane."
ROUNDS = 2


@pytest.fixture
def owned(monkeypatch: pytest.MonkeyPatch, alice: User, session: Any) -> None:
    """Alice owns the session."""
    monkeypatch.setattr(askers, "_facts_of", lambda *_: SessionFacts(owner=alice.pk))


Answers = Callable[..., Counter[int]]


@pytest.fixture
def answers(project: Project, bearer: Callable[..., dict[str, str]], browser: Callable[[User], Client]) -> Answers:
    """Let each person answer by four ways at the same time: two keys and two logins. Return the statuses."""

    def by_key(headers: dict[str, str], approval: Approval, said: dict[str, Any]) -> int:
        path = f"/api/v1/approvals/{approval.id}/decide"
        return Client().post(path, said, "application/json", headers=headers).status_code

    def by_hand(client: Client, approval: Approval, said: dict[str, Any]) -> int:
        return client.post(f"/admin/approvals/approval/{approval.id}/decide/", {**said, "version": "1"}).status_code

    def answer(approval: Approval, *people: User, **more: Any) -> Counter[int]:
        said = {"decision": "approve", "digest": approval.digest, **more}
        calls = []
        for user in people:
            keys = [bearer(project, user, scopes=("approvals:decide",)) for _ in range(2)]
            calls += [partial(by_key, key, approval, said) for key in keys]
            calls += [partial(by_hand, browser(user), approval, said) for _ in range(2)]
        return Counter(all_at_once(calls))

    return answer


def test_a_person_who_votes_by_four_ways_at_once_has_one_vote(
    asked: Asked, ruled: Ruled, answers: Answers, project: Project, alice: User, bob: User
) -> None:
    ruled(outcome="ask", approvers={"quorum": 2})
    for _ in range(ROUNDS):
        approval = asked()
        assert answers(approval, alice) == {200: 2, 302: 2}
        approval.refresh_from_db()
        assert (approval.status, approval.vote_count) == ("pending", 1)
        assert answers(approval, bob) == {200: 2, 302: 2}
        approval.refresh_from_db()
        assert (approval.status, approval.vote_count) == ("approved", 2)
    assert Vote.objects.count() == 2 * ROUNDS
    assert Event.objects.filter(type="approval_voted").count() == ROUNDS
    assert Event.objects.filter(type="approval_decided").count() == ROUNDS
    assert chain.verify(project.pk) is None


def test_the_asker_answers_by_no_way_under_four_eyes_and_another_person_meanwhile_by_one(
    asked: Asked, ruled: Ruled, answers: Answers, owned: None, alice: User, bob: User
) -> None:
    ruled(outcome="ask", four_eyes=True)
    for _ in range(ROUNDS):
        approval = asked()
        assert answers(approval, alice) == {403: 4}
        approval.refresh_from_db()
        assert (approval.status, approval.vote_count) == ("pending", 0)
        found = answers(approval, alice, bob)
        # Bob's repeats are the same answer. Alice meets his, or her own lack of the right.
        assert (found[200], found[302], found[403] + found[409]) == (2, 2, 4)
        approval.refresh_from_db()
        assert (approval.status, (approval.decided_by or {})["user"]) == ("approved", "bob")


def test_the_glass_that_is_broken_by_four_ways_at_once_is_one_record(
    asked: Asked, ruled: Ruled, answers: Answers, owned: None, alice: User
) -> None:
    ruled(outcome="ask", four_eyes=True)
    alice.user_permissions.add(Permission.objects.get(codename="break_glass"))
    alice = User.objects.get(pk=alice.pk)
    for _ in range(ROUNDS):
        approval = asked()
        assert answers(approval, alice, break_glass=WHY) == {200: 2, 302: 2}
        approval.refresh_from_db()
        assert (approval.status, approval.break_glass) == ("approved", WHY)
        [row] = AuditEntry.objects.filter(action="approval.decided", subject=f"approval:{approval.id}")
        assert json.loads(row.detail)["break_glass"] == WHY
    assert Event.objects.filter(type="approval_decided").count() == ROUNDS
