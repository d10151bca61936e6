"""Reading and deciding approvals by REST, beside plain DRF views.

One web process, as the Procfile starts it (uvicorn), or two where the row says so. The peer has token authentication
and one query or one `create()`, without serializer or validation, on as many processes of gunicorn (sync), which serves
it faster than uvicorn does. It reads the same rows. A decision of ours is a guarded UPDATE with its event, audit row
and wake-up; fsync is on for both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks import stage
from benchmarks._calls import ROOT, each
from benchmarks.figures import Figure, Table, main
from benchmarks.rest import PEER, peer, served
from tests.servers.stack import House

#: The peer on two processes.
TWO = [*PEER[:-1], "--workers", "2", PEER[-1]]
ROWS, READS, PAGES, DECISIONS = 200, 2000, 300, 600
PLANT = """
import json, sys, uuid
from accounts.models import Project
from approvals.canonical_action import Ask, prepare
from approvals.models import Approval
from core.db.clock import database_now
project = Project.objects.get(slug="default").pk
rows = []
for number in range(int(sys.argv[1])):
    arguments = {"command": f"make deploy {number}"}
    ask = Ask(request_id=str(uuid.uuid4()), tool_name="shell", permission="run", resource="host", arguments=arguments)
    made = prepare(str(project), ask)
    by = {"kind": "key", "id": "none", "name": "bench", "user": None, "user_id": None}
    rows.append(Approval(
        project_id=project, request_id=ask.request_id, via="rest", asked_digest=made.asked_digest, requested_by=by,
        requested_at=database_now(), tool_name="shell", permission="run", resource="host", risk="medium",
        reversibility="irreversible", allowed_decisions=made.allowed_decisions, action=made.action, digest=made.digest))
Approval.objects.bulk_create(rows)
print(json.dumps([[str(row.pk), row.digest] for row in rows]))
"""


def plant(house: House, number: int) -> list[tuple[str, str]]:
    """Store pending requests. Return the id and the digest of each."""
    script = PLANT.replace("sys.argv[1]", repr(str(number)))
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", script]
    environment = {**os.environ, **house.environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=120)
    found: list[tuple[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(rounds: int) -> Table:
    """Every figure beside its peer, round by round."""
    found: dict[str, list[float]] = {}

    def note(name: str, ports: list[int], token: str, requests: list[tuple[str, str, str]], callers: int) -> None:
        found.setdefault(name, []).append(each(ports, token, requests, connections=callers))

    with stage.house(only_web=True, web=2) as house, peer(house) as (one, token), served(house, TWO, "/create") as two:
        both = [int(url.rsplit(":", 1)[1]) for url in house.urls]
        mine, port, key, theirs = both[:1], [one], f"Bearer {house.key}", f"Token {token}"
        first, *_ = plant(house, ROWS)
        for _ in range(rounds):
            note("get", mine, key, [("GET", f"/api/v1/approvals/{first[0]}", "")] * READS, 1)
            note("their get", port, theirs, [("GET", f"/approvals/{first[0]}", "")] * READS, 1)
            note("list", mine, key, [("GET", "/api/v1/approvals?status=pending", "")] * PAGES, 1)
            note("their list", port, theirs, [("GET", "/approvals?status=pending", "")] * PAGES, 1)
            for callers in (1, 16):
                note(f"decide {callers}", mine, key, _decisions(plant(house, DECISIONS)), callers)
                note(f"their create {callers}", port, theirs, _creates(), callers)
            note("decide by two", both, key, _decisions(plant(house, DECISIONS)), 16)
            note("their create by two", [two], theirs, _creates(), 16)
    read, create = "a plain DRF view, token auth, one query", "a plain DRF `create()` view, token auth"
    goal = [300.0] * rounds
    return Table(
        "approvals",
        "Reading and deciding approvals",
        [
            Figure("GET of an approval", "/s", found["get"], read, found["their get"], 0.8),
            Figure("GET of 50 pending ones", "/s", found["list"], read, found["their list"], 0.8),
            Figure("decide, one caller", "/s", found["decide 1"], create, found["their create 1"], 0.7),
            Figure("decide, 16 callers", "/s", found["decide 16"], create, found["their create 16"], 0.7),
            Figure("the same, two processes", "/s", found["decide by two"], create, found["their create by two"], 0.7),
            Figure("the same, two processes", "/s", found["decide by two"], "the goal", goal, 1.0),
        ],
        (__doc__ or "").split("\n\n", 1)[1],
    )


def _decisions(planted: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    return [
        ("POST", f"/api/v1/approvals/{pk}/decide", json.dumps({"decision": "approve", "digest": digest}))
        for pk, digest in planted
    ]


def _creates() -> list[tuple[str, str, str]]:
    body: dict[str, Any] = {"message_kind": "task", "body": {"text": "look into the failing build", "priority": 2}}
    run = os.urandom(4).hex()
    return [("POST", "/create", json.dumps({**body, "id": f"{run}-{number}"})) for number in range(DECISIONS)]


if __name__ == "__main__":
    main(measure)
