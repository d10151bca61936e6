"""The parameters of the mailbox calls, for the OpenAPI document."""

from __future__ import annotations

from core.web.openapi import values
from core.web.openapi.values import in_query
from ledger import long_poll
from mailbox import addresses
from mailbox.envelope import LONGEST_ID
from mailbox.states import QUARANTINE_SOURCES, MessageState, QuarantineState

#: The path parameters, by name.
IN_PATH = {
    "address": values.text(addresses.LONGEST, least=1, pattern=addresses.PATTERN),
    "ask_id": values.text(LONGEST_ID, least=1),
}
TIMEOUT = in_query(
    "timeout",
    {"type": "number", "minimum": 0, "maximum": long_poll.LONGEST_WAIT, "default": 0},
    f"Seconds to wait; no call waits longer than `held_call_secs`. {long_poll.BOUND}",
)
QUARANTINE_FILTERS = [
    in_query("state", values.choice(QuarantineState.values)),
    in_query("source", values.choice(QUARANTINE_SOURCES), "The system that it came from."),
    in_query("address", values.text(), "The address that it was for."),
]
MESSAGE_FILTERS = [in_query("state", values.choice(MessageState.values))]
