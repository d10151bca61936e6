"""A value that nobody means, in any place of any address, is refused or finds nothing. It is never a 5xx."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore

from accounts import credentials, projects, scopes
from accounts.models import User
from tests.api import odd
from tests.conftest import RUN
from tests.mailbox.faces import Server
from tests.people import owner

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

KINDS = odd.kinds(RUN.backend)
FOR_STAFF = [kind for kind in odd.FOR_STAFF if kind in KINDS]
HERE = {"address": "desk", "ask_id": "x"}


@pytest.fixture
def token() -> str:
    return credentials.mint(kind="api", project=projects.default(), user=owner(), scopes=scopes.ALL)[1]


def answers(
    server: Server, addresses: Iterator[tuple[str, str]], method: str = "GET", **headers: str
) -> Iterator[tuple[str, int]]:
    """Yield each address, by value and place, and the status of its answer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        for what, address in addresses:
            # Not by httpx, which takes no address over 64 KiB and tidies up dots.
            connection.request(method, address, headers={"Host": "testserver", **headers})
            answer = connection.getresponse()
            answer.read()
            yield what, answer.status


def faults(server: Server, addresses: Iterator[tuple[str, str]], method: str = "GET", **headers: str) -> list[str]:
    """Return the addresses with a 5xx answer."""
    told = answers(server, addresses, method, **headers)
    return [f"{status} {method} {what}" for what, status in told if status >= 500]


def filled(path: str, **given: str) -> str:
    return re.sub(r"{(\w+)}", lambda match: given.get(match[1]) or HERE.get(match[1], odd.NEVER), path)


def in_queries(path: str, names: Any, kinds: Mapping[str, str] = KINDS) -> Iterator[tuple[str, str]]:
    for name in sorted(names):
        for kind, value in kinds.items():
            yield f"{path}?{name}=({kind})", f"{filled(path)}?{name}={value}"


def in_paths(path: str, names: Any) -> Iterator[tuple[str, str]]:
    for name in names:
        for kind, value in KINDS.items():
            yield f"{path} with {name}=({kind})", filled(path, **{name: value})


def test_no_query_of_rest_is_too_odd(server: Server, token: str) -> None:
    found = []
    for path, _, query in odd.rest():
        found += faults(server, in_queries(path, {*query, "nobody"}), Authorization=f"Bearer {token}")
    assert not found, "\n".join(found)


def test_no_path_of_rest_is_too_odd(server: Server, token: str) -> None:
    found = []
    for path, inside, _ in odd.rest():
        found += faults(server, in_paths(path, inside), Authorization=f"Bearer {token}")
    for path, within in odd.posts():
        found += faults(server, in_paths(path, within), "POST", Authorization=f"Bearer {token}")
        found += faults(server, in_paths(path, within), "POST")
    assert not found, "\n".join(found)


def test_no_path_of_a_supervisor_is_too_odd(server: Server) -> None:
    for call in ("alive", "exited"):
        path = f"/api/v1/sessions/{{session_id}}/attempts/{{number}}/{call}"
        assert not (found := faults(server, in_paths(path, ["session_id", "number"]), "POST")), "\n".join(found)


def test_no_header_of_rest_is_too_odd(server: Server, token: str) -> None:
    found = []
    for name in ("Authorization", "Idempotency-Key", "Last-Event-ID", "Accept", "Content-Type", "If-None-Match"):
        for kind in ("9" * 5000, "-1", "\xff", "a,b", "*/*;q=x", "Bearer " + "x" * 5000, ";", "²".encode()):
            sent: dict[str, Any] = {"Authorization": f"Bearer {token}", name: kind}
            for method, path in (("GET", "feed"), ("GET", "sessions"), ("GET", "schema"), ("POST", "sessions")):
                answer = server.client.request(method, f"/api/v1/{path}", headers=_raw(sent))
                found += [f"{method} {path} {name}: {kind!r}"] * (answer.status_code >= 500)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("length", ["9" * 5000, "9" * 19, "-1", "1e3", "+1"])
def test_no_length_of_a_body_is_too_odd(server: Server, token: str, length: str) -> None:
    for path in ("sessions", "mailboxes/desk/messages", f"sessions/{odd.NEVER}/ask", "schema"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: testserver\r\nAuthorization: Bearer {token}\r\n"
            connection.sendall(f"{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{{}}".encode())
            # An answer, or an end without one: a server that cannot tell where the body ends may hang up.
            assert connection.recv(12) not in (b"HTTP/1.1 500", b"HTTP/1.1 502"), path


def _raw(headers: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
        for name, value in headers.items()
    ]


@pytest.fixture
def cookie(superuser: User) -> str:
    session = SessionStore()
    session[SESSION_KEY] = str(superuser.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = superuser.get_session_auth_hash()
    session.save()
    return f"sessionid={session.session_key}"


@pytest.fixture
def superuser(transactional_db: None) -> User:
    return User.objects.create_superuser("super", password="super-password")


@pytest.mark.parametrize("path", odd.admin_lists())
def test_no_query_of_a_list_is_too_odd(server: Server, cookie: str, path: str) -> None:
    found = []
    for kind in FOR_STAFF:
        names = odd.admin_names()
        if not takes_no_notice(server, cookie, path, odd.ODD[kind]):
            names |= odd.admin_fields(path)
        found += faults(server, in_queries(path, names, {kind: odd.ODD[kind]}), Cookie=cookie)
    assert not found, "\n".join(found)


def takes_no_notice(server: Server, cookie: str, path: str, value: str) -> bool:
    """Return True if a list shows itself with this value of every field at once. Then none of them can be wrong."""
    query = "&".join(f"{name}={value}" for name in sorted(odd.admin_fields(path)))
    return len(query) < 60_000 and [*answers(server, iter([("", f"{path}?{query}")]), Cookie=cookie)] == [("", 200)]


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/approvals/approval/queue/"])
def test_no_query_of_another_page_is_too_odd(server: Server, cookie: str, path: str) -> None:
    names = {"next", "page", "status", "session", "project"}
    kinds = {kind: odd.ODD[kind] for kind in FOR_STAFF}
    assert not (found := faults(server, in_queries(path, names, kinds), Cookie=cookie)), "\n".join(found)


def test_no_topic_of_a_live_page_is_too_odd(server: Server) -> None:
    assert not (found := faults(server, in_queries("/admin/live/feed", ["topics", "x"]))), "\n".join(found)


def test_no_path_of_the_admin_is_too_odd(server: Server, cookie: str) -> None:
    found = []
    for route in odd.admin_addresses():
        if "{}" in route and "logout" not in route:
            addresses = ((f"{route} ({kind})", route.replace("{}", value)) for kind, value in KINDS.items())
            found += faults(server, addresses, Cookie=cookie)
            found += faults(server, iter([(route, route.replace("{}", "1"))]), Cookie=cookie)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "path", ["/api/v1%00", "/api/v1/%00", "/%00", "/static/%00", "/admin/%00/", "/static/a%00.css"]
)
def test_a_nul_in_a_path_leads_nowhere(server: Server, path: str) -> None:
    assert server.client.get(path).status_code in (302, 400, 401, 404)
