"""The steps in the admin and by REST: the forms, the queue of one person, and the history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals.life import claims, routing
from approvals.models import Approval, Step
from tests.approvals.admin_page import page_of, text_of
from tests.approvals.conftest import Asked, Browser
from tests.approvals.test_rest import Caller

pytestmark = pytest.mark.django_db

QUEUE = "/admin/approvals/approval/"
Bearer = Callable[..., dict[str, str]]


def step(client: Client, approval: Approval, name: str, **words: str) -> str:
    return text_of(client.post(page_of(approval).replace("/change/", "/step/"), {"step": name, **words}, follow=True))


def test_the_page_tells_who_looks_at_it_and_takes_answers_anyway(
    desk: Client, asked: Asked, bob: User, browser: Browser
) -> None:
    approval = asked()
    assert "alice looks at it" in step(desk, approval, "claim")
    shown = text_of(browser(bob).get(page_of(approval)))
    assert "alice looks at it until" in shown
    assert 'value="approve"' in shown
    assert "alice looks at it" in step(browser(bob), approval, "claim")
    assert "data-claim" not in step(desk, approval, "release")
    assert "alice claimed it for 300 s" in text_of(desk.get(page_of(approval)))


def test_a_delegation_is_on_the_page_in_the_queue_and_in_the_history(desk: Client, asked: Asked, bob: User) -> None:
    approval = asked()
    shown = step(desk, approval, "delegate", to="user:bob", note="<b>yours</b>")
    assert "It is for bob." in shown
    assert "alice delegated it to bob" in shown
    assert "&lt;b&gt;yours&lt;/b&gt;" in shown
    assert "for bob" in text_of(desk.get(QUEUE, {"whose": "all"}))


def test_an_escalation_and_a_new_deadline_are_shown(desk: Client, asked: Asked) -> None:
    approval = asked(expires_in_secs=60)
    assert "escalated" in step(desk, approval, "escalate", to="group:team of default")
    assert "alice extended it for 3600 s" in step(desk, approval, "extend", expires_in_secs="3600")
    refused = step(desk, approval, "extend", expires_in_secs="x")
    assert "This was not done." in refused
    assert "New deadline: " in refused
    assert "This was not done." in step(desk, approval, "no-step")
    approval.refresh_from_db()
    assert approval.version == 3


def test_a_snoozed_request_leaves_one_persons_queue_alone(
    desk: Client, asked: Asked, bob: User, browser: Browser
) -> None:
    approval = asked()
    step(desk, approval, "snooze", for_secs="900")
    assert str(approval.id) not in text_of(desk.get(QUEUE))
    assert str(approval.id) in text_of(desk.get(QUEUE, {"status": "snoozed"}))
    assert str(approval.id) in text_of(browser(bob).get(QUEUE))
    assert 'data-live-count="0"' in text_of(desk.get(QUEUE))


def test_a_reminder_says_when_there_are_no_others(desk: Client, asked: Asked, bob: User) -> None:
    assert "The others were reminded." in step(desk, asked(), "remind")
    bob.groups.clear()
    assert "nobody was reminded" in step(desk, asked(resource="another"), "remind")


def test_a_viewer_sees_no_forms_and_takes_no_step(asked: Asked, viewer: User, browser: Browser) -> None:
    approval = asked()
    assert 'id="ap-more"' not in text_of(browser(viewer).get(page_of(approval)))
    step(browser(viewer), approval, "claim")
    assert not Step.objects.exists()


def test_a_get_takes_no_step(desk: Client, asked: Asked) -> None:
    approval = asked()
    assert desk.get(page_of(approval).replace("/change/", "/step/")).status_code == 302
    assert not Step.objects.exists()


def test_the_steps_by_rest(bearer: Bearer, project: Project, alice: User, bob: User, asked: Asked) -> None:
    key, path = Caller(bearer(project, alice)), f"/{asked(expires_in_secs=60).id}"
    calls: list[tuple[str, dict[str, Any], Callable[[Any], Any], Any]] = [
        ("claim", {"lease_secs": 60}, lambda told: told["claimed_by"]["user"], "alice"),
        ("release", {}, lambda told: told["claimed_by"], None),
        ("delegate", {"user": "bob"}, lambda told: told["assigned_to"]["name"], "bob"),
        ("extend", {"expires_in_secs": 600}, lambda told: told["version"], 3),
        ("escalate", {"note": "now"}, lambda told: told["escalations"], 1),
        ("snooze", {"for_secs": 50}, lambda told: (told["status"], told["snoozed_until"] is None), ("pending", False)),
    ]
    for name, body, member, wanted in calls:
        answer = key.post(f"{path}/{name}", body)
        assert (answer.status_code, member(answer.json())) == (200, wanted), name
    kinds = [step["kind"] for step in key.get(f"{path}/history").json()["results"]]
    assert kinds == ["claimed", "released", "delegated", "extended", "escalated", "snoozed"]
    assert [found["id"] for found in key.get("", snoozed="true").json()["results"]] == [path[1:]]
    assert key.get("", snoozed="false").json()["results"] == []
    assert key.post(f"{path}/snooze", {"for_secs": 0}).json()["snoozed_until"] is None


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("claim", {"lease_secs": 3601}, "lease_secs"),
        ("claim", {"user": "bob"}, "user"),
        ("release", {"x": 1}, "x"),
        ("delegate", {}, "user"),
        ("delegate", {"user": "alice", "group": "x"}, "group"),
        ("snooze", {}, "for_secs"),
        ("snooze", {"for_secs": -1}, "for_secs"),
        ("extend", {"expires_in_secs": 30 * 86400 + 1}, "expires_in_secs"),
        ("escalate", {"note": "x" * 16385}, "note"),
    ],
)
def test_a_wrong_body_names_its_field(
    bearer: Bearer, project: Project, alice: User, asked: Asked, name: str, body: dict[str, Any], field: str
) -> None:
    answer = Caller(bearer(project, alice)).post(f"/{asked(expires_in_secs=60).id}/{name}", body)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


@pytest.mark.parametrize("name", ["claim", "release", "delegate", "snooze", "extend", "escalate"])
def test_who_may_take_a_step_by_rest(
    bearer: Bearer,
    project: Project,
    elsewhere: Project,
    alice: User,
    viewer: User,
    stranger: User,
    asked: Asked,
    name: str,
) -> None:
    approval = asked()
    callers = {
        "child": (bearer(project, session=approval.session), 403),
        "viewer": (bearer(project, viewer, scopes=["approvals:read"]), 403),
        "asker": (bearer(project, alice, scopes=["approvals:ask"]), 404),
        "foreign": (bearer(elsewhere, stranger), 404),
    }
    for who, (headers, status) in callers.items():
        assert Caller(headers).post(f"/{approval.id}/{name}", {}).status_code == status, who
    assert not Step.objects.exists()


def test_the_names_of_people_are_not_told_to_those_outside(asked: Asked, alice: User, stranger: User) -> None:
    approval = asked()
    claims.claim(approval.project_id, approval.id, Actor.of_user(alice))
    for target in ("stranger", "no such name"):
        with pytest.raises(Exception, match=routing.NOBODY):
            routing.delegate(approval.project_id, approval.id, Actor.of_user(alice), user=target)
