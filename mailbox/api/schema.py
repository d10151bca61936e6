"""The shapes of the mailbox calls, for the OpenAPI document alone."""

from __future__ import annotations

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import serializers as rest

from core.display.names import UNSEEN
from core.web.openapi import values
from core.web.openapi.values import Shaped, in_query
from core.web.outlines import order, outline
from ledger import long_poll
from mailbox import addresses, message_kinds
from mailbox.api.bodies import LONGEST_NOTE, MOST_AT_ONCE
from mailbox.claims import LONGEST_DELAY, LONGEST_LEASE, MOST, SHORTEST_LEASE
from mailbox.envelope import LONGEST_ID, LONGEST_ROLE, OTHERS_ID
from mailbox.states import KINDS, PUBLIC_KINDS, QUARANTINE_SOURCES, MessageState, QuarantineState

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

_ID = values.name(LONGEST_ID)
_lease = Shaped(
    {"type": "number", "minimum": SHORTEST_LEASE, "maximum": LONGEST_LEASE},
    required=False,
    help_text="Seconds; the default is 60.",
)
_from_fields: dict[str, rest.Field] = {
    "session_id": Shaped(values.text(LONGEST_ID), allow_null=True, required=False),
    "role": Shaped(values.text(LONGEST_ROLE, pattern=f"^[^{UNSEEN}]*$"), allow_null=True, required=False),
    "claimed": Shaped({"type": "boolean"}, required=False, help_text="True if only the sender says so."),
}
_from = outline("MessageFrom", _from_fields, allow_null=True, required=False)
_sender = order("MessageSender", {**_from_fields, "claimed": rest.JSONField(required=False, help_text="Ignored.")})


def _message(shown: bool) -> dict[str, rest.Field]:
    """Return the fields of a message. A shown message has all of them; in a delivered one some are optional."""
    sender = type(_from)(required=True) if shown else type(_sender)(required=False, allow_null=True)
    return {
        "id": Shaped(_ID if shown else _OTHERS_ID, required=shown, help_text="A repeated id is the same message."),
        "message_kind": Shaped(values.choice(sorted(KINDS if shown else PUBLIC_KINDS))),
        "from": sender,
        "body": rest.JSONField(help_text="At most 256 KiB and 64 levels; ask: {question, mode}, reply: {answer}."),
        "correlation_id": Shaped(_ID, allow_null=True, required=shown),
        "created_at": rest.DateTimeField(
            allow_null=not shown, required=shown, help_text="Stored and shown; it decides nothing."
        ),
    }


_OTHERS_ID = values.name(LONGEST_ID, pattern=OTHERS_ID)
NewMessage = order("NewMessage", _message(shown=False), **message_kinds.RULES)
# An invalid message is refused alone, so any value may be in the list.
_MANY = {"type": "array", "minItems": 1, "maxItems": MOST_AT_ONCE, "items": values.reference("JsonValue")}
NewMessages = order("NewMessages", {"messages": Shaped(_MANY, help_text="Each as in NewMessage.")})
OneOrMany = PolymorphicProxySerializer("MessageOrMessages", [NewMessage, NewMessages], resource_type_field_name=None)

_accepted: dict[str, rest.Field] = {
    "id": rest.CharField(),
    "address": rest.CharField(),
    "seq": rest.IntegerField(help_text="Its number at its address. It defines the order of first deliveries."),
}
Accepted = outline("MessageAccepted", _accepted)
_result: dict[str, rest.Field] = {
    "id": rest.CharField(allow_null=True),
    "status": rest.IntegerField(help_text="201, or the problem's."),
    "seq": rest.IntegerField(required=False),
    "problem": rest.DictField(required=False),
}
Results = outline("MessageResults", {"results": outline("MessageResult", _result, many=True)})

_shown: dict[str, rest.Field] = {
    **_message(shown=True),
    "address": rest.CharField(),
    "seq": rest.IntegerField(),
    "tries": rest.IntegerField(),
    "state": Shaped(values.choice(MessageState.values)),
    "received_at": rest.DateTimeField(),
}
Message = outline("Message", _shown)
MessagePage = outline(
    "MessagePage",
    {"results": type(Message)(many=True), "next": rest.CharField(allow_null=True)},
)
Claim = outline(
    "MailboxClaim",
    {
        "claim": rest.UUIDField(allow_null=True, help_text="Null: there was nothing to claim."),
        "lease_expires_at": rest.DateTimeField(allow_null=True),
        "messages": type(Message)(many=True),
    },
)
Extended = outline(
    "MailboxExtended",
    {
        "claim": rest.UUIDField(allow_null=True, help_text="Null: the claim no longer holds any message."),
        "lease_expires_at": rest.DateTimeField(allow_null=True),
        "ids": rest.ListField(child=rest.CharField(), help_text="The ids that it still holds."),
    },
)
_claim = Shaped(values.text(), help_text="The claim that `drain` returned.")
_IDS = {"type": "array", "maxItems": MOST, "items": values.text(LONGEST_ID)}
_ids: dict[str, rest.Field] = {"claim": _claim, "ids": Shaped(_IDS)}
_consumer = Shaped(
    values.text(LONGEST_ID), required=False, help_text="The consumer; it may `recover` its claims early."
)
_unknown = rest.ListField(child=rest.CharField(), help_text="The ids that this claim does not, or no longer, hold.")
Drain = order(
    "MailboxDrain",
    {
        "limit": Shaped({"type": "integer", "minimum": 1, "maximum": MOST, "default": 100}, required=False),
        "lease_secs": _lease,
        "consumer": _consumer,
    },
)
Recover = order("MailboxRecover", {"lease_secs": _lease, "consumer": _consumer})
Ack = order("MailboxAck", _ids)
Acked = outline("MailboxAcked", {"acked": rest.ListField(child=rest.CharField()), "unknown": _unknown})
_delay = Shaped({"type": "number", "minimum": 0, "maximum": LONGEST_DELAY, "default": 0}, required=False)
Nack = order("MailboxNack", {**_ids, "delay_secs": _delay})
Nacked = outline("MailboxNacked", {"nacked": rest.ListField(child=rest.CharField()), "unknown": _unknown})
Extend = order("MailboxExtend", {"claim": _claim, "lease_secs": _lease})
Reply = order(
    "MailboxReply",
    {"ask_id": Shaped(values.text(), help_text="The id of an ask that was drained here."), "answer": rest.JSONField()},
)
Replied = outline("MailboxReplied", {"id": rest.CharField(), "ask_id": rest.CharField()})
Asked = outline(
    "MailboxAsked",
    {
        "status": Shaped(
            values.choice(["answered", "pending"]), help_text="Only an answered one has the other fields."
        ),
        "ask_id": rest.CharField(),
        "answer": rest.JSONField(required=False),
        "from": _from,
        "answered_at": rest.DateTimeField(required=False),
    },
)
Counts = outline(
    "MailboxCounts",
    {
        **{state.value: rest.IntegerField() for state in MessageState},
        "oldest_age_secs": rest.FloatField(allow_null=True),
    },
)

_quarantined: dict[str, rest.Field] = {
    "id": rest.UUIDField(),
    "address": rest.CharField(allow_null=True),
    "message_id": rest.CharField(allow_null=True),
    "source": rest.CharField(),
    "reason": rest.CharField(),
    "position": rest.IntegerField(allow_null=True, help_text="The position of the fault in the bytes, if known."),
    "size": rest.IntegerField(),
    "state": Shaped(values.choice(QuarantineState.values)),
    "created_at": rest.DateTimeField(),
    "settled_at": rest.DateTimeField(allow_null=True),
    "settled_by": rest.CharField(allow_null=True),
    "note": rest.CharField(allow_null=True),
    "raw": rest.CharField(help_text="Base64 of the bytes. A list has only the first ones."),
    "raw_is_whole": rest.BooleanField(),
}
Quarantined = outline("Quarantined", _quarantined)
QuarantinePage = outline(
    "QuarantinePage",
    {"results": type(Quarantined)(many=True), "next": rest.CharField(allow_null=True)},
)
Requeue = order(
    "QuarantineRequeue",
    {
        "message": rest.JSONField(required=False, help_text="The edited message; the default is the stored one."),
        "address": Shaped(values.text(), required=False, help_text="Its address, if the message names none."),
    },
)
_note = Shaped(values.text(LONGEST_NOTE, pattern=values.NOT_BLANK), help_text="The reason.")
Discard = order("QuarantineDiscard", {"note": _note})
