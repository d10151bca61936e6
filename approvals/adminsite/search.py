"""Search in one tab of the queue: by an id, or by words of the first rows."""

from __future__ import annotations

import re
from uuid import UUID

from django.db.models import Q

from approvals.display import copies
from approvals.models import Approval, ApprovalQuerySet
from approvals.selectors import MOST_LOOKED_AT, with_session_name

#: The most requests that a search for words finds.
MOST_FOUND = 200
#: The beginning of an id, as the pages show it.
_BEGINS = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}", re.IGNORECASE)


def searched(rows: ApprovalQuerySet, term: str, *, sees_sessions: bool) -> ApprovalQuerySet:
    """Return the rows of a tab that a search finds: `rows` have the order of the tab.

    An id, or its beginning, is found by its index. Words are looked for in the tool, the resource, the question and, if
    the reader may see it, the name of the session. Only the first `MOST_LOOKED_AT` rows are searched for words, and the
    first `MOST_FOUND` are shown: no index finds a word inside a text on both databases.
    """
    if _BEGINS.fullmatch(term):
        return rows.filter(Q(pk__range=_ids(term)) | Q(session__range=_ids(term)))
    first = Approval.objects.filter(pk__in=rows.values("pk")[:MOST_LOOKED_AT]).order_by(*rows.query.order_by)
    wanted = Q(tool_name__icontains=term) | Q(resource__icontains=term) | Q(question__icontains=term)
    if sees_sessions:
        first, wanted = with_session_name(first), wanted | Q(session_name__icontains=term)
    found = []
    for row in first.filter(wanted).only("tool_name", "resource", "question")[:MOST_FOUND]:
        # The texts as the reader sees them: a search must not tell what a display copy hides.
        texts = row.tool_name, copies.text(row.resource), copies.text(row.question), getattr(row, "session_name", "")
        if any(term.lower() in text.lower() for text in texts if text):
            found.append(row.pk)
    return rows.filter(pk__in=found)


def _ids(begins: str) -> tuple[UUID, UUID]:
    digits = begins.replace("-", "")[:32]
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
