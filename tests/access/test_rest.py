"""The matrix of REST for callers other than keys of the project: nobody, a dead key, a foreign key, and children.

`tests/accounts/test_permission_matrix.py` has the table of the calls, the part of the keys (each scope and permission),
and the calls that only a server answers.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from accounts import credentials, projects
from accounts.actors import Actor
from accounts.models import Project, User
from approvals import requests
from approvals.canonical_action import Ask
from ledger.audit import signing
from ledger.models import Delivery
from orchestration.sessions import spawn
from orchestration.sessions.spawn import SpawnOrder
from tests.accounts.planted import Targets, plant
from tests.accounts.test_permission_matrix import ALLOWED, HERE, Row, call, key_of, status
from tests.adminsite.test_every_page import checksum
from tests.mailbox.faces import Django
from tests.people import owner

pytestmark = [pytest.mark.django_db, pytest.mark.surface]
FACE = Django()
#: Calls that a child's token may make about its own session and its own request. A 409 is past the door: the session
#: does not run yet.
CHILD = {
    "GET sessions": 200,
    "POST sessions": 201,
    "GET sessions/{session}": 200,
    "GET sessions/{session}/tree": 200,
    "GET sessions/{session}/attempts": 200,
    "GET sessions/{session}/events": 200,
    "GET sessions/{session}/history": 200,
    "POST sessions/{session}/wait": 409,
    "POST sessions/{session}/messages": 202,
    "POST approvals": 202,
    "GET approvals/{approval}/wait?timeout=0": 200,
    "GET approvals/{approval}/questions": 200,
    "GET approvals/{approval}/tool-schema": 200,
    "POST approvals/{approval}/withdraw": 200,
    "POST approvals/{approval}/remind": 409,
    "POST approvals/{approval}/consume": 409,
    "POST approvals/{approval}/outcome": 409,
    "POST approvals/{approval}/fallback": 409,
}


@dataclasses.dataclass(frozen=True)
class Stage:
    targets: Targets
    child: str
    sibling: str
    foreign: str
    deliveries: int


@pytest.fixture
def stage() -> Stage:
    """One of everything, with a request of the child itself."""
    project, targets = projects.default(), plant()
    child = targets.ids["session"]
    actor = Actor(kind="child", id=f"{child}/1", name="child", session=child, attempt=1)
    ask = Ask(session=child, attempt=1, request_id="own", tool_name="t", permission="p", resource="own")
    own, _ = requests.ask(project.pk, ask, actor=actor, via="rest")
    order = SpawnOrder(assignment="x", runner="external")
    sibling = spawn.spawn(project, order, Actor.system("tests")).child_token
    elsewhere = Project.objects.create(slug="elsewhere")
    _, token = credentials.mint(kind="child", project=project, subject=child, attempt=1)
    _, foreign = credentials.mint(kind="api", project=elsewhere, user=owner(), scopes=["admin"])
    assert sibling is not None
    # The webhook is told of the request and of the session, too.
    targets = Targets({**targets.ids, "approval": str(own.pk)})
    return Stage(targets, token, sibling, foreign, Delivery.objects.count())


def answered(row: Row, token: str, stage: Stage) -> tuple[int, str]:
    answer = call(FACE, row, token, stage.targets)
    return answer.status_code, answer.text if hasattr(answer, "text") else whole(answer)


def whole(answer: Any) -> str:
    return b"".join(answer.streaming_content if answer.streaming else [answer.content]).decode()


def named(text: str, stage: Stage) -> set[str]:
    """The things of the stage that an answer names."""
    return {name for name, id in stage.targets.ids.items() if id in text}


def test_a_caller_without_a_token_does_nothing(stage: Stage) -> None:
    found = {row.call: status(FACE, row, "", stage.targets) for row in HERE}
    assert set(found.values()) == {401}, found
    assert stage.targets.untouched(stage.deliveries)


@pytest.mark.parametrize("state", ["unknown", "ended", "expired", "of nobody", "owner inactive", "owner sees nothing"])
def test_a_key_that_is_dead_opens_neither_face(stage: Stage, state: str) -> None:
    person = User.objects.create_user("somebody", is_staff=True, is_superuser=state != "owner sees nothing")
    mint: dict[str, Any] = {"kind": "api", "project": projects.default(), "user": person, "scopes": ["admin"]}
    if state == "of nobody":
        mint["user"] = None
    if state == "expired":
        mint["expires_at"] = datetime(2020, 1, 1, tzinfo=UTC)
    key, token = credentials.mint(**mint)
    if state == "ended":
        credentials.end(key.pk, Actor.system("tests"))
    if state == "unknown":
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    if state == "owner inactive":
        User.objects.filter(pk=person.pk).update(is_active=False)
    for row in HERE:
        if row.call in ("GET approvals", "GET approvals/{approval}/wait?timeout=0"):
            assert status(FACE, row, token, stage.targets) == 401, row.call


def test_an_admin_of_another_project_neither_reads_nor_moves_anything_here(stage: Stage) -> None:
    for row in HERE:
        code, text = answered(row, stage.foreign, stage)
        assert code == 404 if "{" in row.path else code in ALLOWED, (row.call, code)
        asked = {name for name in stage.targets.ids if f"{{{name}}}" in f"{row.path} {row.body}"}
        assert named(text, stage) <= asked, (row.call, text)
    assert stage.targets.untouched(stage.deliveries)


def test_a_child_does_what_the_table_says_to_its_own_and_nothing_else(stage: Stage) -> None:
    found = {row.call: status(FACE, row, stage.child, stage.targets) for row in HERE}
    assert {call: code for call, code in found.items() if code not in (403, 404)} == CHILD


def test_a_child_neither_reads_nor_moves_a_session_beside_it(stage: Stage) -> None:
    for row in HERE:
        code, text = answered(row, stage.sibling, stage)
        assert code in (403, 404) if "{" in row.path else code in {403, *ALLOWED}, (row.call, code)
        if code < 400:
            assert not named(text, stage), (row.call, text)
    assert stage.targets.untouched(stage.deliveries)


def test_no_get_changes_a_row(stage: Stage) -> None:
    """A scanner, a prefetch or a page that embeds an address moves nothing, whatever its key may do."""
    token = key_of(owner(), "admin")
    signing.published()  # The first reader of the keys makes one.
    before = checksum()
    reads = [row for row in HERE if row.call.startswith("GET ")]
    found = {row.call: answered(row, token, stage)[0] for row in reads}
    assert len(found) > 30 and set(found.values()) <= {200, 404, 409}, found
    assert checksum() == before
    deny = next(row for row in HERE if row.call.endswith("/decide"))
    assert answered(deny, token, stage)[0] == 200
    assert checksum() != before, "the control: a checksum sees a change"
