"""The bodies of the calls on reviewers. The form of the admin fills the same Struct."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from approvals.rules.bodies import MAX_NAME
from core.web.fields import Body, name, says, text
from ledger.webhooks.addresses import LONGEST

MOST_AT_ONCE = 8


class ReviewerBody(Body, frozen=True, kw_only=True):
    name: Annotated[str, name(MAX_NAME, says="Unique in the project. Rules name it.")]
    url: Annotated[str, text(LONGEST, 1, says="Of a webhook: https, a public host, port 443 or 8443.")] | None = None
    entry_point: (
        Annotated[str, text(MAX_NAME, 1, says="Of a program: its name in the group `wardroom.reviewers`.")] | None
    ) = None
    at_once: Annotated[int, Meta(ge=1, le=MOST_AT_ONCE), says("Requests that it looks at at once.")] = 4


class ReviewerNothing(Body, frozen=True):
    """An empty body."""
