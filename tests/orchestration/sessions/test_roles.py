"""The rights of a role belong to its own command, and never to its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Credential
from core.limits import LIMITS
from ledger.models import AuditEntry
from orchestration.connections import messages
from orchestration.models import Session
from orchestration.sessions import lifecycle, roles
from orchestration.states import Status
from tests.orchestration import stages
from tests.orchestration.conftest import problem

pytestmark = pytest.mark.django_db

SESSIONS = "/api/v1/sessions"
ORDER = {"assignment": "echo hello", "role": "release"}
RELEASE = {
    "command": ["sleep", "60"],
    "retries": 3,
    "env": {"DEPLOY_TOKEN": "secret"},
    "addresses": ["releases"],
    "scopes": ["quarantine:read"],
}
KeyOf = Callable[..., APIClient]


@pytest.fixture(autouse=True)
def release(timings: Any) -> None:
    timings(roles={**LIMITS.roles, "release": RELEASE})


def spawn(client: APIClient, **order: Any) -> Session:
    answer = client.post(SESSIONS, {**ORDER, **order}, format="json")
    assert answer.status_code == 201, answer.content
    return Session.objects.get(pk=answer.json()["id"])


def given(session: Session) -> dict[str, Any]:
    """Everything that the role gives to this session, wherever it is handed out."""
    minted = Credential.objects.filter(subject=str(session.pk)).last()
    return {
        "retries": session.retries_left,
        "env": roles.of(session).get("env", {}),
        "addresses": messages.role_addresses(session),
        "scopes": minted.scopes if minted else roles.of(session).get("scopes", []),
    }


ALL = {name: RELEASE[name] for name in ("retries", "env", "addresses", "scopes")}
NOTHING = {"retries": 0, "env": {}, "addresses": [], "scopes": []}


def test_a_role_is_given_to_the_session_that_runs_its_own_command(key: KeyOf) -> None:
    assert given(spawn(key(only=["sessions:write"]))) == ALL


def test_a_child_may_spawn_what_runs_the_command_of_a_role(child_of: Callable[[Session], APIClient]) -> None:
    assert given(spawn(child_of(stages.running()))) == ALL


@pytest.mark.parametrize(
    ("scopes", "what"),
    [
        ([], NOTHING),
        (["mailboxes:write"], NOTHING),
        (["quarantine:read"], NOTHING),
        (["mailboxes:write", "quarantine:read"], ALL),
        (["sessions:command"], ALL),
        (["admin"], ALL),
    ],
)
def test_an_external_child_has_a_role_only_if_its_spawner_reaches_as_far(
    key: KeyOf, scopes: Iterable[str], what: dict[str, Any]
) -> None:
    assert given(spawn(key(only=["sessions:write", *scopes]), runner="external")) == what


def test_an_external_child_that_a_child_spawns_has_nothing_of_a_role(
    child_of: Callable[[Session], APIClient],
) -> None:
    """Also where the spawner itself has all of it."""
    parent = stages.running(role="release", command=None)
    assert parent.has_role_reach
    assert given(spawn(child_of(parent), runner="external")) == NOTHING


def test_a_label_becomes_no_role_when_the_table_changes(key: KeyOf, timings: Any) -> None:
    session = spawn(key(), runner="external", role="later")
    timings(roles={"later": RELEASE})
    assert given(session) == NOTHING


def test_the_token_of_a_session_with_a_role_needs_what_its_spawner_needed(key: KeyOf) -> None:
    wide, plain = key(), key(only=["sessions:write"])
    mine, label = spawn(wide, runner="external"), spawn(wide, runner="external", role="a-label")
    answer = plain.post(f"{SESSIONS}/{mine.pk}/token")
    assert problem(answer) == (403, "forbidden")
    assert "mailboxes:write" in answer.json()["detail"]
    assert plain.post(f"{SESSIONS}/{label.pk}/token").status_code == 201
    assert wide.post(f"{SESSIONS}/{mine.pk}/token").status_code == 201


def test_the_audit_row_of_a_spawn_says_what_it_was_given(key: KeyOf) -> None:
    session = spawn(key(only=["sessions:write"]))
    told = json.loads(AuditEntry.objects.get(action="session.spawn", subject=str(session.pk)).detail)
    assert (told["has_role_reach"], told["may_run_unasked"]) == (True, False)


# --- steps that nobody is asked about -------------------------------------------------------------------------------


@pytest.mark.parametrize(("scopes", "may"), [([], False), (["sessions:command"], True), (["admin"], True)])
def test_steps_run_unasked_only_for_a_key_that_may_order_a_command(key: KeyOf, scopes: list[str], may: bool) -> None:
    for role in ("runbook", "release"):
        session = spawn(key(only=["sessions:write", *scopes]), role=role, assignment="!id")
        assert session.may_run_unasked is may


def test_what_a_child_spawns_runs_no_step_unasked(child_of: Callable[[Session], APIClient]) -> None:
    assert not spawn(child_of(stages.running()), role="runbook", assignment="!id").may_run_unasked


STARTS: dict[str, Any] = {"retry": {}, "messages": {"message_kind": "task", "body": {"text": "again"}}}


@pytest.mark.parametrize("call", STARTS)
def test_who_starts_a_session_again_gives_it_no_more_than_they_could(key: KeyOf, call: str) -> None:
    session = stages.ended()
    assert session.may_run_unasked
    for client, kept in ((key(), True), (key(only=["sessions:write"]), False), (key(), False)):
        answer = client.post(f"{SESSIONS}/{session.pk}/{call}", STARTS[call], format="json")
        assert answer.status_code == 202, answer.content
        session = stages.again(session)
        assert session.may_run_unasked is kept
        assert lifecycle.finish(session.pk, session.attempt, Status.CANCELLED)


@pytest.mark.parametrize("stage", [stages.running, stages.suspended])
@pytest.mark.parametrize("may", [True, False])
def test_who_interrupts_a_session_gives_its_next_attempt_no_more_than_they_could(
    key: KeyOf, stage: Callable[[], Session], may: bool
) -> None:
    session = stage()
    client = key() if may else key(only=["sessions:write"])
    answer = client.post(f"{SESSIONS}/{session.pk}/messages", {**STARTS["messages"], "interrupt": True}, format="json")
    assert answer.status_code == 202, answer.content
    assert stages.again(session).may_run_unasked is may


def test_a_child_hands_on_no_tool_that_is_taken_from_it(child_of: Callable[[Session], APIClient]) -> None:
    parent = stages.running(disabled_tools=("shell",))
    below = spawn(child_of(parent), disabled_tools=["net", "shell"])
    assert below.options["disabled_tools"] == ["shell", "net"]
    assert spawn(child_of(parent)).options["disabled_tools"] == ["shell"]
