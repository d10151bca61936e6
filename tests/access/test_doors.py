"""The matrix beside REST and the admin: routes before Django, Django's other addresses, and sockets.

`tests/orchestration/connections/test_roles.py` has the roles at each socket.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, path
from starlette.routing import Route

from accounts import credentials, projects
from accounts.models import User
from config.asgi_routes import routes
from orchestration.routing import websocket_urlpatterns
from tests import before_django
from tests.people import owner

#: Routes before Django that are no call of REST: open to everybody, or to staff with a login.
OPEN, STAFF = {"/healthz", "/readyz"}, {"/admin/live/feed"}
#: Django's addresses that are neither REST nor the admin. All are open, and read only.
DJANGO = {"", "^api/", ".well-known/wardroom.json"}
#: The sockets: the regular expression of each address, and its consumer.
SOCKETS = {r"^ws/children/(?P<session_id>[^/]+)$": "ChildConsumer", "": "ChildConsumer"}


def unlisted_routes(found: Iterable[Route]) -> set[str]:
    return {route.path for route in found if not route.path.startswith("/api/v1/")} - OPEN - STAFF


def unlisted_views(found: Iterable[URLPattern | URLResolver]) -> set[str]:
    paths = {str(each.pattern) for each in found}
    return {each for each in paths if not each.startswith(("api/v1/", "admin/"))} - DJANGO


def unlisted_sockets(found: Iterable[Any]) -> set[str]:
    return {each.pattern.regex.pattern for each in found if SOCKETS.get(each.pattern.regex.pattern) != consumer(each)}


def consumer(pattern: Any) -> str:
    return str(pattern.callback.consumer_class.__name__)


def test_every_route_view_and_socket_is_listed() -> None:
    assert unlisted_routes(routes()) == set()
    assert unlisted_views(get_resolver().url_patterns) == set()
    assert unlisted_sockets(websocket_urlpatterns) == set()
    assert len(websocket_urlpatterns) == len(SOCKETS)


def test_one_that_nobody_listed_is_found() -> None:
    async def answer(request: Any) -> Any:
        raise AssertionError

    assert unlisted_routes([*routes(), Route("/planted", answer)]) == {"/planted"}
    assert unlisted_views([*get_resolver().url_patterns, path("planted/", lambda request: None)]) == {"planted/"}
    planted = path("ws/planted", websocket_urlpatterns[0].callback)
    assert unlisted_sockets([*websocket_urlpatterns, planted]) == {planted.pattern.regex.pattern}


def cookie_of(person: User, **lost: bool) -> dict[str, str]:
    """Return the login of a person, and then take these rights away."""
    client = Client()
    client.force_login(person)
    User.objects.filter(pk=person.pk).update(**lost)
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "role", ["nobody", "key", "child", "inactive", "off the staff", "another origin", "another site"]
)
def test_the_stream_of_the_pages_is_for_staff_on_our_own_pages(role: str) -> None:
    project, person = projects.default(), User.objects.create_superuser("person", password="x")
    headers: dict[str, str] = {}
    if role == "key":
        token = credentials.mint(kind="api", project=project, user=owner(), scopes=["admin"])[1]
        headers = {"Authorization": f"Bearer {token}"}
    elif role == "child":
        token = credentials.mint(kind="child", project=project, subject="x", attempt=1)[1]
        headers = {"Authorization": f"Bearer {token}"}
    elif role in ("inactive", "off the staff"):
        headers = cookie_of(person, **{"is_active" if role == "inactive" else "is_staff": False})
    elif role == "another origin":
        headers = cookie_of(person) | {"Origin": "https://evil.example"}
    elif role == "another site":
        headers = cookie_of(person) | {"Sec-Fetch-Site": "same-site"}
    answer = before_django.call("GET", "/admin/live/feed", b"", headers, {})
    assert answer.status_code == (403 if "another" in role else 401)


def test_health_is_open_and_takes_no_other_method() -> None:
    assert before_django.call("GET", "/healthz", b"", {}, {}).json() == {"status": "ok"}
    for address in OPEN:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert before_django.call(method, address, b"", {}, {}).status_code == 405, (method, address)


def test_an_address_that_nobody_serves_is_a_404_for_everybody() -> None:
    for address in ("/planted", "/ws", "/.well-known/other", "/media/x"):
        assert before_django.call("GET", address, b"", {}, {}).status_code == 404, address
    assert before_django.call("GET", "/ws/children/x", b"", {}, {}).status_code == 426


@pytest.mark.django_db
def test_the_published_keys_are_read_by_everybody_and_written_by_nobody(client: Client) -> None:
    assert set(client.get("/.well-known/wardroom.json").json()) == {"issuer", "keys"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert client.generic(method, "/.well-known/wardroom.json").status_code == 405, method
        assert client.generic(method, "/api/planted").status_code == 404, method
        assert client.generic(method, "/").status_code in (302, 405), method
