"""Every REST call, by every scope and every permission behind it: a key reaches no further than its owner does."""

from __future__ import annotations

import dataclasses
import itertools
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.urls import URLPattern, URLResolver, get_resolver

from accounts import credentials, projects, scopes
from accounts.models import User
from config.asgi_routes import routes as asgi_routes
from tests.accounts.planted import Targets, plant
from tests.mailbox.faces import Django, Server, serving
from tests.people import owner

API = "api/v1/"
ALLOWED = {200, 201, 202, 204, 404, 409, 422}
_numbers = itertools.count()
STEER, STOP, DRAIN = scopes.STEER, scopes.STOP, scopes.DRAIN


@dataclasses.dataclass(frozen=True)
class Row:
    """One call: `METHOD path`, the sufficient scopes, the owner's further permissions, and a valid body."""

    call: str
    any_of: tuple[str, ...]
    beside: tuple[str, ...] = ()
    body: dict[str, Any] | None = None
    #: Only the asker may do it, whatever its rights are.
    of_asker: bool = False

    @property
    def path(self) -> str:
        return self.call.partition(" ")[2].partition("#")[0]


MESSAGE = {"message_kind": "task", "body": {"text": "stop"}}
READ, WRITE = ("sessions:read",), ("sessions:write",)
ASK, DECIDE, LOOK = ("approvals:ask",), ("approvals:decide",), ("approvals:ask", "approvals:decide", "approvals:read")
DELIVER, HOOK = ("mailboxes:write",), ("webhooks:write",)
EDIT = ("rules:write",)
RULES, RULE = ("rules:write", "approvals:read"), {"name": "planted", "outcome": "ask"}
CLAIM = {"claim": str(uuid.uuid4()), "ids": ["x"]}
BATCH = {"items": [{"id": "{approval}", "digest": "x", "decision": "deny"}]}
MATRIX = [
    Row("GET sessions", READ),
    Row("POST sessions", WRITE, body={"assignment": "x", "runner": "external"}),
    Row("GET sessions/{session}", READ),
    Row("GET sessions/{session}/tree", READ),
    Row("GET sessions/{session}/attempts", READ),
    Row("GET sessions/{session}/events", READ),
    Row("GET sessions/{session}/history", READ),
    Row("POST sessions/{session}/token", WRITE, body={}),
    Row("POST sessions/{session}/wait", WRITE, body={"wait_for": "all"}),
    Row("POST sessions/{session}/messages", WRITE, body=MESSAGE),
    Row("POST sessions/{session}/messages#interrupt", WRITE, (STOP,), {**MESSAGE, "interrupt": True}),
    Row("POST sessions/{session}/ask", WRITE, body={"question": "why?", "timeout_secs": 0}),
    Row("GET sessions/{session}/asks/{ask}", (*WRITE, *READ)),
    Row("POST sessions/{session}/cancel", WRITE, (STOP,), {"cascade": False}),
    Row("POST sessions/{over}/retry", WRITE, (STOP,), {}),
    Row("GET snapshot", ("feed:read",)),
    Row("GET feed", ("feed:read",)),
    Row("GET audit", ("audit:read",)),
    Row("GET audit?format=csv", ("audit:read",)),
    Row("GET approvals", ("approvals:read",)),
    Row("GET approvals/count", ("approvals:read",)),
    Row("POST approvals", ASK, body={"request_id": "r", "tool_name": "t", "permission": "p", "resource": "r"}),
    Row("GET approvals/{approval}", LOOK),
    Row("GET approvals/{approval}/receipt", LOOK),
    Row("GET approvals/{approval}/wait?timeout=0", LOOK),
    Row("POST approvals/{approval}/decide", DECIDE, body={"decision": "deny"}),
    Row("POST approvals/batch-decide", DECIDE, body=BATCH),
    Row("POST approvals/{approval}/reveal", ("approvals:reveal",)),
    Row("POST approvals/{approval}/withdraw", ASK, body={}),
    Row("POST approvals/{approval}/claim", DECIDE, body={}),
    Row("POST approvals/{approval}/release", DECIDE, body={}),
    Row("POST approvals/{approval}/delegate", DECIDE, body={"user": "nobody"}),
    Row("POST approvals/{approval}/snooze", DECIDE, body={"for_secs": 1}),
    Row("POST approvals/{approval}/extend", DECIDE, body={"expires_in_secs": 1}),
    Row("POST approvals/{approval}/escalate", DECIDE, body={}),
    Row("POST approvals/{approval}/remind", ("approvals:ask", "approvals:decide"), body={}),
    Row("POST approvals/{approval}/ask-back", DECIDE, body={"question": "why?"}),
    Row("GET approvals/{approval}/questions", LOOK),
    Row("GET approvals/{approval}/tool-schema", LOOK),
    Row("POST approvals/{approval}/questions/{approval}/answer", ASK, body={"answer": "so"}),
    Row("GET approvals/{approval}/history", ("approvals:read",)),
    Row("POST approvals/{approval}/consume", ASK, body={"digest": "x"}),
    Row("GET approvals/{approval}/outcome", ("approvals:read",)),
    Row("POST approvals/{approval}/outcome", ASK, body={"outcome": "ran"}, of_asker=True),
    Row("POST approvals/{approval}/unknown-outcome", DECIDE, body={"settled_as": "ran", "note": "seen"}),
    Row("POST approvals/{approval}/fallback", ASK, body={"action": "proceed"}, of_asker=True),
    Row("GET grants", ("approvals:read",)),
    Row("GET grants/{grant}", ("approvals:read",)),
    Row("POST grants/{grant}/revoke", DECIDE, body={}),
    Row("GET reviewers", EDIT),
    Row("POST reviewers", EDIT, body={"name": "new", "url": "https://hooks.example/"}),
    Row("GET reviewers/{reviewer}", EDIT),
    Row("PUT reviewers/{reviewer}", EDIT, body={"name": "new", "url": "https://hooks.example/", "at_once": 2}),
    Row("DELETE reviewers/{reviewer}", EDIT),
    Row("POST reviewers/{reviewer}/rotate", EDIT, body={}),
    Row("GET rules", RULES),
    Row("POST rules", ("rules:write",), body={**RULE, "name": "new"}),
    Row("GET rules/{rule}", RULES),
    Row("PUT rules/{rule}", ("rules:write",), body=RULE),
    Row("DELETE rules/{rule}", ("rules:write",)),
    Row("POST rules/preview", ("rules:write",), body={"rule": RULE, "days": 1}),
    Row("GET plans", ("approvals:read",)),
    Row("GET plans/{plan}", ("approvals:read",)),
    Row("POST plans/{plan}/revoke", DECIDE, body={}),
    Row("GET mailboxes/box", ("mailboxes:read",)),
    Row("GET mailboxes/box/messages", ("mailboxes:read",)),
    Row("GET mailboxes/box/asks/{boxed}", ("mailboxes:read",)),
    Row("POST mailboxes/box/messages", DELIVER, body=MESSAGE),
    Row("POST mailboxes/session:{session}/messages#stop", DELIVER, (STEER,), MESSAGE),
    Row("POST mailboxes/box/drain", DELIVER, (DRAIN,), {"limit": 1}),
    Row("POST mailboxes/box/recover", DELIVER, (DRAIN,), {}),
    Row("POST mailboxes/box/ack", DELIVER, (DRAIN,), CLAIM),
    Row("POST mailboxes/box/nack", DELIVER, (DRAIN,), CLAIM),
    Row("POST mailboxes/box/extend", DELIVER, (DRAIN,), {"claim": CLAIM["claim"]}),
    Row("POST mailboxes/box/reply", DELIVER, (DRAIN,), {"ask_id": "x", "answer": 1}),
    Row("GET quarantine", ("quarantine:read",)),
    Row("GET quarantine/{quarantined}", ("quarantine:read",)),
    Row("POST quarantine/{quarantined}/requeue", ("quarantine:write",), body={"message": MESSAGE, "address": "box"}),
    Row(
        "POST quarantine/{quarantined}/requeue#session",
        ("quarantine:write",),
        (STEER,),
        {"message": MESSAGE, "address": "session:{session}"},
    ),
    Row("POST quarantine/{quarantined}/discard", ("quarantine:write",), body={"note": "noise"}),
    Row("GET webhooks", HOOK),
    Row("POST webhooks", HOOK, body={"url": "https://hooks.example/"}),
    Row("GET webhooks/{webhook}", HOOK),
    Row("PUT webhooks/{webhook}", HOOK, body={"url": "https://hooks.example/", "types": ["*"]}),
    Row("DELETE webhooks/{webhook}", HOOK),
    Row("POST webhooks/{webhook}/test", HOOK, body={}),
    Row("POST webhooks/{webhook}/rotate", HOOK, body={}),
    Row("GET webhooks/{webhook}/deliveries", HOOK),
    Row("POST deliveries/{delivery}/redrive", HOOK, body={}),
]
#: Answered without a key (the document), or only to the token of a very attempt (the supervisor's calls).
WITHOUT_KEY = {"GET schema", "POST sessions/{}/attempts/{}/alive", "POST sessions/{}/attempts/{}/exited"}


def patterns(found: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for each in found:
        path = before + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from patterns(each.url_patterns, path)
        elif isinstance(each, URLPattern) and path.startswith(API):
            yield path.removeprefix(API), each.callback


def routed() -> set[str]:
    """Every call of the API that anything answers: Django's views, and the routes in front of Django."""
    calls = set()
    for path, view in patterns(get_resolver().url_patterns):
        methods = [name for name in ("get", "post", "put", "patch", "delete") if hasattr(view.cls, name)]
        calls |= {f"{method.upper()} {path}" for method in methods}
    for route in asgi_routes():
        if route.path.startswith(f"/{API}"):
            path = route.path.removeprefix(f"/{API}")
            calls |= {f"{method} {path}" for method in (route.methods or ()) if method not in ("HEAD", "OPTIONS")}
    return {shape_of(call) for call in calls}


def shape_of(call: str) -> str:
    """The call with `{}` for whatever stands for something."""
    call = re.sub(r"<[^>]*>|\{[^}]*\}", "{}", call.partition("?")[0].partition("#")[0])
    return re.sub(r"mailboxes/(box|session:\{\})", "mailboxes/{}", call)


def test_the_table_has_every_call_of_the_api() -> None:
    assert {shape_of(row.call) for row in MATRIX} | WITHOUT_KEY == routed()


def test_the_table_uses_every_scope_and_every_permission() -> None:
    assert {scope for row in MATRIX for scope in row.any_of} == set(scopes.NEEDS)
    assert {name for row in MATRIX for name in needed(row)} == set(scopes.permissions())


def needed(row: Row) -> set[str]:
    return {name for scope in row.any_of for name in scopes.NEEDS[scope]} | set(row.beside)


def status(face: Django | Server, row: Row, token: str, targets: Targets) -> int:
    return int(call(face, row, token, targets).status_code)


def call(face: Django | Server, row: Row, token: str, targets: Targets) -> Any:
    method, _, _ = row.call.partition(" ")
    raw = b"" if row.body is None else targets.filled(row.body)
    path, _, query = targets.named(row.path).partition("?")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    asked = dict([query.split("=")]) if query else {}
    return face.call(method, f"/{API}{path}", raw, headers, asked)


def member(name: str, held: set[str]) -> User:
    """A member of the staff with exactly these of the permissions that keys need."""
    user = User.objects.create_user(f"{name} {next(_numbers)}", is_staff=True)
    group = projects.default().groups.get_or_create(name="team")[0]
    user.groups.add(group)
    for permission in held:
        app, _, codename = permission.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


def key_of(user: User, *wanted: str) -> str:
    """Minted past every form, as a key of better days is: all its scopes are in the row."""
    return credentials.mint(kind="api", project=projects.default(), user=user, scopes=wanted or scopes.ALL)[1]


def faults(face: Django | Server, row: Row) -> list[str]:
    """Return the callers whose answer differs from the table: by scope, then by the permissions behind it."""
    targets, found = plant(), []

    def expect(who: str, token: str, statuses: set[int], on: Targets = targets) -> None:
        given = status(face, row, token, on)
        if given not in statuses:
            found.append(f"{who}: {given}, not {statuses}")

    for scope in set(scopes.ALL) - {*row.any_of, "admin"}:
        expect(f"only the scope {scope}", key_of(owner(), scope), {403, 404})
    single = len(row.any_of) == 1
    for lost in [{name} for name in needed(row)] if single else [needed(row)]:
        expect(f"without {lost}", key_of(member("short", set(scopes.permissions()) - lost)), {403})
    expect("without any permission", key_of(member("nobody", set())), {403})
    if not targets.untouched():
        found.append("a refused call did something")
    for scope in row.any_of:
        # What a key may only ask for is hidden from it when others asked; that is no question of its scopes.
        hidden = scope == "approvals:ask" and row.call != "POST approvals"
        enough = key_of(member("enough", {*scopes.NEEDS[scope], *row.beside}), scope)
        expect(f"enough for {scope}", enough, {404} if hidden else ALLOWED, plant())
    expect("admin", key_of(owner(), "admin"), {403} if row.of_asker else ALLOWED, plant())
    return found


#: A delivery has a commit of its own: only a server can answer it, outside of every test's transaction.
HERE = [row for row in MATRIX if shape_of(row.call) != "POST mailboxes/{}/messages"]


# On PostgreSQL in `make test-slow`: a right is the same there. The next test runs on both: it reads keys by our SQL.
@pytest.mark.surface
@pytest.mark.django_db
@pytest.mark.parametrize("row", HERE, ids=lambda row: row.call)
def test_a_key_may_what_its_scopes_and_its_owner_may(row: Row) -> None:
    assert faults(Django(), row) == []


@pytest.mark.django_db(transaction=True)
def test_the_calls_before_django_check_alike(broker: object) -> None:
    held = {
        shape_of(f"{method} {route.path.removeprefix(f'/{API}')}")
        for route in asgi_routes()
        for method in route.methods or ()
    }
    with serving() as face:
        found = {row.call: faults(face, row) for row in MATRIX if shape_of(row.call) in held}
        targets = plant()
        child = credentials.mint(kind="child", project=projects.default(), subject=targets.ids["over"], attempt=1)[1]
        for row in MATRIX:
            if row not in HERE:
                assert (status(face, row, "none", targets), status(face, row, child, targets)) == (401, 403), row.call
    assert found
    assert not any(found.values()), found
