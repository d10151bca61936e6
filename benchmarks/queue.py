"""The queue with 100,000 pending and 5,000,000 settled requests, beside the limit of 150 ms of server time.

The pages are rendered in this process for a member of the staff who sees two projects: Django's handlers, templates and
queries, without the network. PostgreSQL has 16,000 requests of each of the last 300 days, from 20 tools. A tenth of the
pending ones is for a person or a group, and every fifth has an identical one. They are written by SQL, and that is not
measured. No page runs more queries than with 200 pending requests: the benchmark ends with an error otherwise.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import stage
from benchmarks.figures import Figure, Table, main
from tests.servers.run import Run

PENDING, SETTLED = 100_000, 5_000_000
FEW_PENDING, FEW_SETTLED = 200, 1_000
CALLS = 9
LIMIT_MS = 150.0
QUEUE = "/admin/approvals/approval/"
REST = "/api/v1/approvals?status=pending"
#: The pages, each by the words of its row.
PAGES = {
    "my queue": f"{QUEUE}?whose=mine",
    "my groups": f"{QUEUE}?whose=groups",
    "all of it": f"{QUEUE}?whose=all",
    "page 2 of all": f"{QUEUE}?whose=all&page=2",
    "the last page that is counted": f"{QUEUE}?whose=all&page=200",
    "a filter: tool and risk": f"{QUEUE}?whose=all&tool=tool-7&risk=high",
    "a search for words": f"{QUEUE}?whose=all&q=step+4217",
    "a search for an id": f"{QUEUE}?whose=all&q=0123abcd",
    "the tab of decided ones": f"{QUEUE}?whose=all&status=decided",
    "the tab of those that never ran": f"{QUEUE}?whose=all&status=never-run",
    "GET approvals?status=pending": REST,
}
FIGURES = f"{QUEUE}figures/"
COLUMNS = """id, project_id, path, request_id, via, is_plan, asked_digest, likeness, requested_by, requested_at,
    tool_name, permission, resource, risk, reversibility, allowed_decisions, has_tool_schema, action, digest,
    facts_digest, version, quorum, vote_count, four_eyes, steps_done, escalations, open_questions"""
# `at` is the time of the ask; `n` makes the rows differ.
VALUES = """gen_random_uuid(), (%(projects)s::uuid[])[1 + n %% 2], '[]', 'r-' || n || '-' || %(kind)s, 'rest', false,
    md5(n::text), md5((n / 5 * 5 + n %% 5 %% 4)::text), '{"kind": "key", "id": "1", "name": "key", "user": "asker",
    "user_id": null}'::jsonb, at, 'tool-' || n %% 20, 'execute', 'host-' || n %% 50,
    (ARRAY['low', 'medium', 'medium', 'high'])[1 + n %% 4], 'reversible', '["approve", "deny", "edit"]'::jsonb, false,
    '{"arguments":{"command":"make step ' || n || '","folder":"/srv/work/' || n %% 100 || '","note":"' ||
    repeat('some words ', 10) || '"},"attempt":null,"permission":"execute","request_id":"r-' || n ||
    '","resource":"host-' || n %% 50 || '","session":null,"tool_name":"tool-' || n %% 20 ||
    '","tool_schema_version":null,"v":1}',
    md5(n::text) || md5(n::text), '', 1, 1, 0, false, 0, 0, 0"""
FILL_PENDING = f"""
    INSERT INTO approvals_approval ({COLUMNS}, status, assigned_to)
    SELECT {VALUES}, 'pending', CASE n %% 20 WHEN 3 THEN %(group)s::jsonb WHEN 4 THEN %(user)s::jsonb END
    FROM (SELECT n, now() - (%(number)s - n) * interval '2 seconds' AS at FROM generate_series(1, %(number)s) n) asked
"""
FILL_SETTLED = f"""
    INSERT INTO approvals_approval ({COLUMNS}, status, settled_at, decision_kind, decided_by, decided_via, rule,
        consumed_at, outcome, cancel_reason)
    SELECT {VALUES}, status, at + interval '40 seconds', kind, CASE WHEN kind IS NOT NULL THEN %(user)s::jsonb ||
        '{{"user": "reader", "user_id": null}}'::jsonb END,
        CASE WHEN kind IS NULL THEN NULL WHEN n %% 100 < 60 THEN 'rule' ELSE 'admin' END,
        CASE WHEN n %% 100 < 60 THEN 'rule ' || n %% 12 END, CASE WHEN kind = 'approve' AND n %% 200 > 1 THEN at +
        interval '50 seconds' END, CASE WHEN kind = 'approve' AND n %% 200 > 1 THEN 'ran' END,
        CASE WHEN status = 'cancelled' THEN 'withdrawn' END
    FROM (
        SELECT n, now() - (%(number)s - n) * interval '5.2 seconds' - interval '1 minute' AS at,
            CASE WHEN n %% 100 < 80 THEN 'approved' WHEN n %% 100 < 92 THEN 'denied' WHEN n %% 100 < 97 THEN 'expired'
                ELSE 'cancelled' END AS status,
            CASE WHEN n %% 100 < 80 THEN 'approve' WHEN n %% 100 < 92 THEN 'deny' END AS kind
        FROM generate_series(1, %(number)s) n
    ) asked
"""


def measure(rounds: int) -> Table:
    """Count the queries of a short queue, fill the database, and time every page round by round."""
    taken: dict[str, list[float]] = {name: [] for name in (*PAGES, "the figures of a day")}
    with stage.servers("postgres", durable=False) as run:
        said, calls = furnish()
        fill(run, said, FEW_PENDING, FEW_SETTLED, "few")
        few = {name: number_of_queries(call) for name, call in calls.items()}
        fill(run, said, PENDING, SETTLED, "many")
        many = {name: number_of_queries(call) for name, call in calls.items()}
        if grown := {name: (few[name], many[name]) for name in few if few[name] < many[name]}:
            raise SystemExit(f"the number of queries grew with the rows: {grown}")
        for _ in range(rounds):
            for name, call in calls.items():
                taken[name].append(milliseconds(call))
    limit = [LIMIT_MS] * rounds
    figures = [
        Figure(name, "ms", found, "the limit", limit, None if name not in PAGES else 1.0, False)
        for name, found in taken.items()
    ]
    notes = (__doc__ or "").split("\n\n", 1)[1]
    return Table("queue", "The queue with millions of requests", figures, notes)


def furnish() -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """Return the parameters of the rows, and a call for each page by a reader who is no superuser."""
    import json

    from django.contrib.auth.models import Group, Permission
    from django.test import Client

    from accounts import credentials, projects
    from accounts.models import Project, User

    group = Group.objects.create(name="readers")
    wanted = ("decide", "view_approval", "ask")
    group.permissions.set(Permission.objects.filter(content_type__app_label="approvals", codename__in=wanted))
    user = User.objects.create_user("reader", is_staff=True)
    user.groups.add(group)
    both = [projects.default(), Project.objects.create(slug="second", name="second")]
    for project in both:
        project.groups.add(group)
    scopes = ["approvals:read"]
    _, token = credentials.mint(kind="api", project=both[0], scopes=scopes, user=user, name="reader")
    client, key = Client(), Client(headers={"Authorization": f"Bearer {token}"})
    client.force_login(user)
    calls: dict[str, Callable[[], Any]] = {}
    for name, address in [*PAGES.items(), ("the figures of a day", FIGURES)]:
        calls[name] = lambda address=address: (key if address == REST else client).get(address)  # type: ignore[misc]
    said = {
        "projects": [project.pk for project in both],
        "group": json.dumps({"kind": "group", "id": str(group.pk), "name": group.name}),
        "user": json.dumps({"kind": "user", "id": str(user.pk), "name": "reader"}),
    }
    return said, calls


def fill(run: Run, said: dict[str, Any], pending: int, settled: int, kind: str) -> None:
    """Store the rows by SQL. The indexes are made afterwards: one by one they would take most of the time."""
    began = time.monotonic()
    with run.postgres.connect(run.name) as connection:
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute("SET max_parallel_maintenance_workers = 2")
        found = connection.execute(
            """SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
            WHERE indrelid = 'approvals_approval'::regclass AND NOT indisprimary"""
        ).fetchall()
        for name, _ in found:
            connection.execute(f"DROP INDEX {name}".encode())
        connection.execute(FILL_SETTLED.encode(), {**said, "number": settled, "kind": kind})
        connection.execute(FILL_PENDING.encode(), {**said, "number": pending, "kind": f"{kind} pending"})
        for _, definition in found:
            connection.execute(str(definition).encode())
        connection.execute("VACUUM (ANALYZE) approvals_approval")
    print(f"{pending + settled:,} rows in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def number_of_queries(call: Callable[[], Any]) -> int:
    """Return the number of queries of a page that was seen before."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    call()
    with CaptureQueriesContext(connection) as seen:
        answer = call()
    assert answer.status_code == 200, answer
    return len(seen.captured_queries)


def milliseconds(call: Callable[[], Any]) -> float:
    """Return the time of one call, by the median of some."""
    taken = []
    for _ in range(CALLS):
        began = time.perf_counter()
        answer = call()
        taken.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer
    return statistics.median(taken) * 1000


if __name__ == "__main__":
    main(measure)
