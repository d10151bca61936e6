"""Rules by REST: added, shown, changed at a version, deleted and previewed, each change with its records."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import decisions
from approvals.decision_validation import Answer
from approvals.models import Rule
from approvals.rules import previews
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import Asked, staff
from tests.approvals.rules.conftest import Ruled

pytestmark = pytest.mark.django_db
RULE = {"name": "no shells", "outcome": "deny", "match": {"tools": ["sh*"]}}
Call = Callable[..., Any]


@pytest.fixture
def call(project: Project, bearer: Callable[..., dict[str, str]]) -> Call:
    """Call the API with a key of these scopes."""

    def send(method: str, path: str, body: Any = None, scopes: Any = ("rules:write",), **headers: str) -> Any:
        said = {**bearer(project, scopes=scopes), **headers}
        raw = "" if body is None else json.dumps(body)
        return Client().generic(method, f"/api/v1/{path}", raw, "application/json", headers=said)

    return send


def test_a_rule_is_added_and_shown(call: Call) -> None:
    made = call("POST", "rules", RULE)
    assert made.status_code == 201, made.content
    shown = made.json()
    assert made.headers["Location"] == f"/api/v1/rules/{shown['id']}"
    assert (shown["name"], shown["match"]["tools"], shown["version"]) == ("no shells", ["sh*"], 1)
    assert (shown["approvers"], shown["four_eyes"], shown["on_expiry"]) == (
        {"users": [], "groups": [], "quorum": 1},
        False,
        "expire",
    )
    assert call("GET", f"rules/{shown['id']}").json() == shown
    assert call("GET", f"rules/{shown['id']}", scopes=("approvals:read",)).headers["ETag"] == '"1"'
    assert call("GET", "rules").json() == {"results": [shown], "next": None}


def test_rules_are_listed_by_name_in_pages(call: Call, ruled: Ruled) -> None:
    for name in ("b", "é", "a", "c"):
        ruled(name=name)
    first = call("GET", "rules?limit=3").json()
    rest = call("GET", f"rules?limit=3&cursor={first['next']}").json()
    names = [each["name"] for each in first["results"] + rest["results"]]
    assert (names, rest["next"]) == (["a", "b", "c", "é"], None)


def test_a_change_needs_the_version_that_was_read(call: Call) -> None:
    id = call("POST", "rules", RULE).json()["id"]
    changed = call("PUT", f"rules/{id}", {**RULE, "outcome": "ask", "version": 1})
    assert (changed.status_code, changed.json()["version"], changed.headers["ETag"]) == (200, 2, '"2"')
    for body, headers in (({"version": 1}, {}), ({}, {"If-Match": '"1"'}), ({}, {"If-Match": "x"})):
        refused = call("PUT", f"rules/{id}", {**RULE, **body}, **headers)
        assert (refused.status_code, refused.json()["type"]) == (409, "version-conflict")
    assert call("PUT", f"rules/{id}", {**RULE, "outcome": "ask"}).json()["version"] == 2
    assert call("PUT", f"rules/{id}", RULE, **{"If-Match": '"2"'}).json()["version"] == 3


def test_each_change_is_an_event_and_an_audit_row_with_before_and_after(call: Call) -> None:
    id = call("POST", "rules", RULE).json()["id"]
    call("PUT", f"rules/{id}", {**RULE, "outcome": "ask"})
    assert call("DELETE", f"rules/{id}").status_code == 204
    rows = AuditEntry.objects.filter(subject=f"rule:{id}").order_by("number")
    assert [row.action for row in rows] == ["rule.created", "rule.changed", "rule.deleted"]
    told = [json.loads(row.detail) for row in rows]
    assert [(each["before"] or {}).get("outcome") for each in told] == [None, "deny", "ask"]
    assert [(each["after"] or {}).get("outcome") for each in told] == ["deny", "ask", None]
    events = list(Event.objects.filter(type="policy_changed").order_by("cursor").values_list("payload", flat=True))
    assert [each["change"] for each in events] == ["created", "changed", "deleted"]
    versions = [each["version"] for each in events]
    assert versions == sorted(set(versions)) == [each["policy_version"] for each in told]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "disabled_tools"}, "name"),
        ({"outcome": "maybe"}, "outcome"),
        ({"match": {"tool": ["x"]}}, "match.tool"),
        ({"match": {"tools": ["*" * 17]}}, "match.tools[0]"),
        ({"match": {"tools": "shell"}}, "match.tools"),
        ({"match": {"tools": ["sh\u200bell"]}}, "match.tools[0]"),
        ({"match": {"when": 'arguments.a == "\u202e"'}}, "match.when"),
        ({"message": "no\u2066pe"}, "message"),
        ({"match": {"risk": ["huge"]}}, "match.risk[0]"),
        ({"match": {"when": "user == 1"}}, "match.when"),
        ({"match": {"when": "[1].all(x, true)"}}, "match.when"),
        ({"match": {"depth": {"min": -1}}}, "match.depth.min"),
        ({"approvers": {"quorum": 0}}, "approvers.quorum"),
        ({"approvers": {"users": ["nobody"]}}, "approvers.users[0]"),
        ({"approvers": {"groups": ["nobodies"]}}, "approvers.groups[0]"),
        ({"approvers": {"users": ["alice"], "quorum": 2}}, "approvers.quorum"),
        ({"on_expiry": "deny"}, "on_expiry"),
        ({"on_expiry": "pending"}, "on_expiry"),
        ({"deadline_secs": 0}, "deadline_secs"),
        ({"deadline_secs": 60, "remind_after_secs": [30, 60]}, "remind_after_secs[1]"),
        ({"remind_after_secs": [30, 30]}, "remind_after_secs"),
        ({"deadline_secs": 60, "escalate": [{"after_secs": 90, "users": ["alice"]}]}, "escalate[0].after_secs"),
        ({"escalate": [{"after_secs": 90}]}, "escalate[0]"),
        ({"escalate": [{"after_secs": 90, "users": ["nobody"]}]}, "escalate[0].users[0]"),
        ({"raise_risk": "none"}, "raise_risk"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_bad_rule_is_refused_by_its_field_and_not_stored(call: Call, alice: User, said: Any, field: str) -> None:
    refused = call("POST", "rules", {**RULE, **said})
    assert refused.status_code == 422, refused.content
    assert field in [each["field"] for each in refused.json()["errors"]]
    assert not Rule.objects.exists()
    assert not Event.objects.filter(type="policy_changed").exists()


def test_people_who_may_not_answer_here_are_named_by_no_rule(call: Call, elsewhere: Project, viewer: User) -> None:
    staff("stranger", elsewhere, "decide")
    refused = call("POST", "rules", {**RULE, "approvers": {"users": ["stranger", "viewer"]}})
    assert [each["field"] for each in refused.json()["errors"]] == ["approvers.users[0]", "approvers.users[1]"]


def test_a_name_is_taken_once_in_a_project(call: Call, ruled: Ruled) -> None:
    ruled(name="no shells")
    assert call("POST", "rules", RULE).status_code == 409
    other = call("POST", "rules", {**RULE, "name": "other"}).json()["id"]
    assert call("PUT", f"rules/{other}", RULE).json()["type"] == "conflict"


def test_rules_of_another_project_are_not_found(
    call: Call, ruled: Ruled, elsewhere: Project, bearer: Callable[..., dict[str, str]]
) -> None:
    id = ruled().id
    for method, body in (("GET", None), ("PUT", RULE), ("DELETE", None)):
        answer = call(method, f"rules/{id}", body, **bearer(elsewhere, scopes=("rules:write",)))
        assert answer.status_code == 404
    assert Rule.objects.count() == 1


def test_a_preview_tells_what_it_would_have_matched_and_where_people_disagreed(
    call: Call, asked: Asked, project: Project, alice: User
) -> None:
    for command, decision in (("rm -rf /", "deny"), ("ls", "approve"), ("rm x", "approve"), ("rm y", None)):
        approval = asked(arguments={"command": command})
        if decision:
            answer = Answer(decision=decision, digest=approval.digest)
            decisions.decide(project.pk, approval.id, answer, Actor.of_user(alice), "rest")
    rule = {**RULE, "match": {"tools": ["shell"], "when": 'arguments.command.startsWith("rm ")'}}
    answer = call("POST", "rules/preview", {"rule": rule, "days": 30})
    assert answer.status_code == 200, answer.content
    seen = answer.json()
    assert (seen["scanned"], seen["matched"], seen["would_deny"], seen["would_allow"]) == (4, 3, 3, 0)
    [other] = seen["disagreements"]
    assert (other["would"], other["was"], other["tool_name"]) == ("deny", "approved", "shell")
    unsure = {**rule, "outcome": "allow", "match": {"when": "arguments.amount > 5"}}
    seen = call("POST", "rules/preview", {"rule": unsure}).json()
    assert (seen["would_ask"], seen["undecided"], seen["would_allow"]) == (4, 4, 0)
    assert not Rule.objects.exists()
    assert Event.objects.filter(type="policy_changed").count() == 0


def test_a_preview_is_bounded_and_says_so(call: Call, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        asked()
    monkeypatch.setattr(previews, "MOST_ROWS", 3)
    seen = call("POST", "rules/preview", {"rule": RULE}).json()
    assert (seen["scanned"], seen["cut_off"], seen["matched"]) == (3, True, 3)
    monkeypatch.setattr(previews, "MOST_ROWS", 5)
    assert call("POST", "rules/preview", {"rule": RULE}).json()["cut_off"] is False
