"""The matrix of the sockets: each role at each kind of address. `tests/access/test_doors.py` lists the addresses."""

from __future__ import annotations

import uuid
from typing import Any

from websockets.exceptions import ConnectionClosed

from accounts import credentials, projects
from accounts.models import Project
from orchestration.sessions import lifecycle, spawn
from orchestration.sessions.spawn import SpawnOrder
from orchestration.states import Status
from tests.orchestration.connections.conftest import TESTS, Server, Spawn
from tests.people import owner

#: The close code at the child's own address, at that of another session, at that of no session, and anywhere else.
#: None is a connection.
ROLES = {
    "nobody": (4401, 4401, 4401, 4401),
    "staff, by a cookie": (4401, 4401, 4401, 4401),
    "an admin's key": (4401, 4401, 4401, 4401),
    "a key of another project": (4401, 4401, 4401, 4401),
    "the child": (None, 4403, 4404, 4404),
    "a child beside it": (4403, None, 4404, 4404),
    "a child of another project": (4404, 4404, 4404, 4404),
    "the child of an attempt that is over": (4403, 4403, 4404, 4404),
}


def headers(client: Any, child: Spawn, other: Spawn) -> dict[str, dict[str, str]]:
    """Return the headers of each role."""
    elsewhere = Project.objects.create(slug="elsewhere")
    foreign = spawn.spawn(elsewhere, SpawnOrder(assignment="x", runner="external"), TESTS)
    over = Spawn()
    lifecycle.started(over.id, 1)
    lifecycle.finish(over.id, 1, Status.COMPLETED)

    def key(project: Project) -> str:
        return credentials.mint(kind="api", project=project, user=owner(), scopes=["admin"])[1]

    tokens = {
        "an admin's key": key(projects.default()),
        "a key of another project": key(elsewhere),
        "the child": child.token,
        "a child beside it": other.token,
        "a child of another project": str(foreign.child_token),
        "the child of an attempt that is over": over.token,
    }
    cookie = {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}
    bearers = {role: {"Authorization": f"Bearer {token}"} for role, token in tokens.items()}
    return {"nobody": {}, "staff, by a cookie": cookie, **bearers}


def test_each_role_at_each_socket(server: Server, child: Spawn, admin_client: Any) -> None:
    other = Spawn()
    said = headers(admin_client, child, other)
    assert set(said) == set(ROLES)
    found: dict[str, list[int | None]] = {}
    for role, sent in said.items():
        for address in (child.id, other.id, uuid.uuid4(), f"{child.id}/planted"):
            with server.dial(address, additional_headers=sent, subprotocols=["wardroom.v1"]) as peer:
                peer.say("hello", attempt=1)
                found.setdefault(role, []).append(closed_with(peer))
    assert found == {role: list(codes) for role, codes in ROLES.items()}


def closed_with(peer: Any) -> int | None:
    """Return None if the child is welcome."""
    try:
        peer.hear("welcome")
    except ConnectionClosed:
        return int(peer.code())
    return None
