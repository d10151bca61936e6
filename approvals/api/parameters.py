"""The query parameters of the approval calls, for the OpenAPI document."""

from __future__ import annotations

from approvals.states import Outcome, Status
from core.web.openapi import values
from core.web.openapi.values import in_query
from ledger import long_poll

MAX_VERSION = 2**31 - 1

TIMEOUT = in_query(
    "timeout",
    {"type": "number", "minimum": 0, "maximum": long_poll.LONGEST_WAIT},
    f"Seconds to wait; no call is held for longer than `held_call_secs`, which is also the default. {long_poll.BOUND}",
)
VERSION = in_query(
    "version",
    {"type": "integer", "minimum": 1, "maximum": MAX_VERSION},
    "Also return when the request has another version: for example when a person asks back.",
)
FILTERS = [
    in_query("status", values.words(Status.values), "Some of these, comma-separated."),
    in_query("session", {"type": "string", "format": "uuid"}, "Asked by this session."),
    in_query("tool", values.text(), "For this tool."),
    in_query("snoozed", {"type": "boolean"}, "True: snoozed by the caller's person. False: not snoozed by it."),
    in_query("outcome", values.words(Outcome.values), "How their runs ended: some of these, comma-separated."),
    in_query("unconsumed", {"type": "boolean"}, "Approved, and never run."),
]
FILTER_NAMES = tuple(parameter.name for parameter in FILTERS)
