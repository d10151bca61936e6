"""The figures of the approvals: pending now, the time of answers, and the people and rules that decided in a window.

Each number says what it counts. Settled requests are read by the index of their time, at most `MOST_READ` of them, and
the page says when there were more. The page runs the same few queries however many requests there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models.fields.json import KT

from approvals import schemas, selectors
from approvals.adminsite import queue
from approvals.display import copies, lines
from approvals.models import ApprovalQuerySet, Grant, Plan
from approvals.models.grants import RULE
from approvals.models.plans import PLAN_RULE
from approvals.states import DECIDED, Status, Via
from core.adminsite.charts import Column, Part, bar, columns
from core.adminsite.model_admins import MOST_COUNTED
from core.db.clock import later, read_database_clock
from core.display.text import shortened
from core.web.paths import uuid_of

MOST_READ = 20_000
#: Rows of a table, and characters of a name in it.
MOST_ROWS, LONGEST_NAME = 12, 80
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: Each window: its name, its title, the number of its columns, and the time of one.
WINDOWS = (("day", "24 hours", 24, HOUR), ("week", "7 days", 7, DAY), ("month", "30 days", 30, DAY))
BUCKETS = (
    ("under 10 s", 10),
    ("under 1 min", 60),
    ("under 5 min", 300),
    ("under 15 min", 900),
    ("under 1 h", 3600),
    ("under 4 h", 14_400),
    ("under 1 day", 86_400),
    ("longer", float("inf")),
)


@dataclass(frozen=True, slots=True)
class Settled:
    """The facts of one settled request."""

    status: str
    via: str | None
    rule: str | None
    tool: str
    person: dict[str, Any]
    requested_at: datetime
    settled_at: datetime

    @property
    def by_person(self) -> bool:
        return self.status in DECIDED and self.via != Via.RULE


def context(rows: ApprovalQuerySet, chosen: str | None) -> dict[str, Any]:
    """Return the figures of these rows for the template."""
    window, title, number, step = next((each for each in WINDOWS if each[0] == chosen), WINDOWS[0])
    now = read_database_clock()
    who = {f"by_{name}": KT(f"decided_by__{name}") for name in ("kind", "user", "name")}
    since = later(-(number * step).total_seconds())
    read = rows.filter(settled_at__gt=since).order_by("-settled_at", "-id").annotate(**who)
    names = ("status", "decided_via", "rule", "tool_name", *who, "requested_at", "settled_at")
    settled = [
        Settled(status, via, rule, tool, {"kind": kind, "user": user, "name": name}, requested_at, settled_at)
        for status, via, rule, tool, kind, user, name, requested_at, settled_at in read.values_list(*names)[:MOST_READ]
    ]
    people = [row for row in settled if row.by_person]
    waits = sorted((row.settled_at - row.requested_at).total_seconds() for row in people)
    oldest = rows.pending().order_by("requested_at", "id").values_list("requested_at", flat=True).first()
    ends = Counter(row.status for row in settled)
    times = Counter(next(label for label, under in BUCKETS if wait < under) for wait in waits)
    most = max(times.values(), default=0)
    return {
        "window": window,
        "windows": [(each[0], each[1]) for each in WINDOWS],
        "title_of_window": title,
        "is_cut": len(settled) == MOST_READ,
        "most_read": MOST_READ,
        "most": MOST_COUNTED,
        "pending": queue.counted(rows.pending()),
        "oldest": oldest,
        "unconsumed": queue.counted(rows.unconsumed()),
        "never_run": queue.counted(selectors.never_run(rows)),
        "expired": ends[Status.EXPIRED],
        "ends": [(status.label.lower(), ends[status]) for status in Status if status != Status.PENDING],
        "decided": len(people),
        "median": waits[len(waits) // 2] if waits else None,
        "slow": waits[len(waits) * 9 // 10] if waits else None,
        "times": [{"name": label, "number": times[label], "bar": bar(times[label], most)} for label, _ in BUCKETS],
        "over_time": _over_time(settled, now, number, step),
        "tables": [
            ("By person", "Nobody has decided anything.", _table(schemas.display_name(row.person) for row in people)),
            ("By rule", "No rule has answered.", _rules(settled)),
            ("By tool", "Nothing was settled.", _table(row.tool for row in settled if row.status in DECIDED)),
        ],
    }


def _table(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the commonest names with their numbers. The rest is one row."""
    counts = Counter(names).most_common()
    shown, rest = counts[:MOST_ROWS], counts[MOST_ROWS:]
    if rest:
        shown.append((f"{len(rest)} others", sum(number for _, number in rest)))
    most = max((number for _, number in shown), default=0)
    return [{"name": shortened(name, LONGEST_NAME), "number": each, "bar": bar(each, most)} for name, each in shown]


def _rules(settled: Sequence[Settled]) -> list[dict[str, Any]]:
    """Return the commonest rules, grants and plans. The last two have an id for a name: their action says more."""
    rules = [row.rule or "" for row in settled if row.via == Via.RULE]
    shown = [rule for rule, _ in Counter(rules).most_common(MOST_ROWS)]
    grants, plans = (
        [found for rule in shown if rule.startswith(kind) and (found := uuid_of(rule.removeprefix(kind)))]
        for kind in (RULE, PLAN_RULE)
    )
    names: dict[str, str] = {}
    for grant in Grant.objects.filter(pk__in=grants).only("tool_name", "action"):
        names[grant.rule] = f"{grant.title}: {grant.tool_name} {lines.of_action(copies.of_action(grant.action))}"
    for plan in Plan.objects.filter(pk__in=plans).only("pk").prefetch_related("steps"):
        names[plan.rule] = f"{plan.title}: {', '.join(dict.fromkeys(step.tool_name for step in plan.steps.all()))}"
    return _table(names.get(rule, rule) for rule in rules)


def _over_time(settled: Sequence[Settled], now: datetime, number: int, step: timedelta) -> dict[str, Any]:
    tones = ((Status.APPROVED, "good"), (Status.DENIED, "bad"), (Status.EXPIRED, "wait"))
    counts = Counter((int((now - row.settled_at) / step), row.status) for row in settled)
    data = []
    for ago in reversed(range(number)):
        begins = now - (ago + 1) * step
        label = f"{begins:%H:%M}" if step < DAY else f"{begins:%b %d}"
        data.append(Column(label, [Part(counts[ago, status], tone) for status, tone in tones]))
    most = max(column.total for column in data)
    about = f"Approved, denied and expired requests, {len(data)} columns, at most {most} in one."
    return {"chart": columns(data, about=about), "first": data[0].label, "most": most}
