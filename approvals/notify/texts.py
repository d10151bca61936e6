"""The words of messages: no argument of an action and no text of an agent, except the name of a tool, made visible.

The names of keys, reviewers and people are made visible in the same way. A line break or another control character in a
name is shown as an escape. So no name adds a header or a line. The signs of links and of mentions are escapes too: no
name becomes a link in a mail, or calls everybody of a chat room.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from django.conf import settings
from django.urls import reverse

from approvals import schemas
from approvals.models import Approval, Notice
from approvals.states import NoticeKind, Status
from core.display.redaction import redacted
from core.display.text import mixed_scripts, shortened

#: The requests that one message lists.
MOST_LISTED = 50
WITHOUT_ANSWER = {Status.EXPIRED: "nobody answered in time", Status.CANCELLED: "withdrawn"}
WORDS = {
    NoticeKind.REQUESTED: "waits for an answer",
    NoticeKind.DELEGATED: "was handed to you",
    NoticeKind.REMINDED: "still waits for an answer",
    NoticeKind.ESCALATED: "is urgent",
    NoticeKind.ANSWERED: "has an answer to your question",
}
#: `@everyone`, `<!channel>`, `[text](address)`, `https://...`
_CALLS = re.compile(r"[@<>\[\]`]|:(?=//)")
FOOT = "The links show the requests. They hold no right: you answer after you sign in."


def subject(asks: Sequence[Notice], ends: Sequence[Notice]) -> str:
    """Return the subject of a message."""
    if not asks:
        first = tool(ends[0].approval)
        return f"[Wardroom] Settled: {first}" + (f" and {len(ends) - 1} more" if len(ends) > 1 else "")
    urgent = "Urgent: " if any(each.kind == NoticeKind.ESCALATED for each in asks) else ""
    if len({each.approval_id for each in asks}) == 1:
        return f"[Wardroom] {urgent}{tool(asks[0].approval)} {WORDS[NoticeKind(asks[0].kind)]}"
    return f"[Wardroom] {urgent}{len({each.approval_id for each in asks})} requests wait for an answer"


def body(asks: Sequence[Notice], ends: Sequence[Notice]) -> str:
    """Return the text of a message: the requests that wait, then those that need nothing any more."""
    lines: list[str] = []
    for notice in asks[:MOST_LISTED]:
        row = notice.approval
        until = f", expires {_time(row.expires_at)}" if row.expires_at else ""
        lines += [
            f"{tool(row)} {WORDS[NoticeKind(notice.kind)]}",
            f"  {row.risk} risk, {row.reversibility.replace('_', ' ')}",
            f"  project {shortened(row.project.slug)}, asked {_time(row.requested_at)}{until}",
            f"  {_link('change', row.pk)}",
            "",
        ]
    lines += [f"... and {len(asks) - MOST_LISTED} more: {_link('changelist')}", ""] if len(asks) > MOST_LISTED else []
    if ends:
        lines.append("Nothing to do any more:")
        for row in (each.approval for each in ends[:MOST_LISTED]):
            by = f"{row.status} by {_name(schemas.display_name(row.decided_by), 120)}"
            lines.append(f"  {tool(row)}: {WITHOUT_ANSWER.get(Status(row.status), by)}")
        lines += [f"  ... and {len(ends) - MOST_LISTED} more"] if len(ends) > MOST_LISTED else []
        lines.append("")
    return "\n".join([*lines, FOOT, ""])


def tool(approval: Approval) -> str:
    """Return the name of the tool in one visible line, with a warning if it mixes scripts."""
    return _name(approval.tool_name, 80)


def _name(given: str, most: int) -> str:
    name = redacted(given)
    warning = " (mixed scripts)" if mixed_scripts(name) else ""
    return _CALLS.sub(lambda sign: f"\\u{{{ord(sign[0]):x}}}", shortened(name, most)) + warning


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _link(page: str, *args: object) -> str:
    return settings.WARDROOM_URL + reverse(f"admin:approvals_approval_{page}", args=args)
