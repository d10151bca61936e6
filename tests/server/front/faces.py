"""One call at each face of a web process, and how it is refused."""

from __future__ import annotations

import re
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.servers.stack import House
from wardroom.protocol import PLAIN

WRITES = {
    "DRF": ("/api/v1/sessions", {"runner": "external", "assignment": "wait"}),
    "hot": ("/api/v1/mailboxes/desk/messages", {"message_kind": "task", "body": "do it"}),
    "held": ("/api/v1/sessions/{session}/ask", {"question": "how far?", "timeout_secs": 0}),
}


def spawned(client: httpx.Client) -> Any:
    answer = client.post("/api/v1/sessions", json={"runner": "external", "assignment": "wait"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def write(client: httpx.Client, face: str, session: str) -> httpx.Response:
    """Write something by this face."""
    path, body = WRITES[face]
    return client.post(path.format(session=session), json=body)


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, type and `Retry-After` of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"], answer.headers.get("retry-after", "")


def sign_in(house: House) -> httpx.Response:
    """Send the admin's login form, as a browser does."""
    with httpx.Client(base_url=house.url, timeout=60, headers={"Accept": "text/html"}) as browser:
        page = browser.get("/admin/login/")
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert found, page.text
        form = {"csrfmiddlewaretoken": found[1], "username": house.admin_name, "password": house.admin_password}
        return browser.post("/admin/login/", data=form, headers={"Referer": f"{house.url}/admin/login/"})


def close_code(house: House, child: Any, session: str) -> int:
    """The code that a child's connection is closed with."""
    headers = {"Authorization": f"Bearer {child['token']}"}
    url = house.socket_url(f"/ws/children/{session}")
    with connect(url, subprotocols=[PLAIN], additional_headers=headers, proxy=None) as socket:
        try:
            while True:
                socket.recv(timeout=60)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return closed.rcvd.code


def parts(house: House) -> Any:
    """Return the parts of `/readyz`."""
    return httpx.get(f"{house.url}/readyz", timeout=30).json()
