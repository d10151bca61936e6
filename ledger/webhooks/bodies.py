"""The bodies of the webhook calls."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from core.web.fields import Body, name, says, text
from ledger.webhooks.addresses import LONGEST

MOST_TYPES, LONGEST_GLOB, LONGEST_NAME = 50, 100, 200
GLOB = r"^[a-z0-9_*]+$"
FURTHEST = 10**18 - 1


Glob = Annotated[
    str,
    text(
        LONGEST_GLOB,
        1,
        check=lambda value: None if re.fullmatch(GLOB[1:-1], value) else "must be letters a to z, digits, _ and *",
        pattern=GLOB,
    ),
]
Url = Annotated[str, text(LONGEST, 1, says="https, a public host, port 443 or 8443; no user, no fragment.")]
Types = Annotated[
    list[Glob],
    Meta(min_length=1, max_length=MOST_TYPES),
    says("Types of Wardroom's own events, as `approval_*`."),
]
Name = Annotated[str, name(LONGEST_NAME, says="For the staff.")]
After = Annotated[int, Meta(ge=0, le=FURTHEST), says("Begin after this cursor of the feed.")]


class WebhookNew(Body, frozen=True):
    url: Url
    types: Annotated[Types | None, says("All of them without it.")] = None
    name: Name | None = None
    after: Annotated[After | None, says("Without it, the present end of the feed.")] = None


class WebhookSettings(Body, frozen=True):
    url: Url
    types: Types
    name: Name | None = None
    enabled: Annotated[bool, says("False: nothing is sent, and events wait in the feed.")] = True
    after: Annotated[After | None, says("Without it, the webhook goes on where it is.")] = None


class WebhookNothing(Body, frozen=True):
    """An empty body."""
