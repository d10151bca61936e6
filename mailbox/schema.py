"""The shapes of the mailbox calls, for the OpenAPI document alone."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer
from rest_framework import serializers as rest

from accounts.outlines import outline
from mailbox.claims import LONGEST_DELAY, LONGEST_LEASE, MOST
from mailbox.letters import LONGEST_ID, LONGEST_ROLE
from mailbox.orders import LONGEST_NOTE, MOST_AT_ONCE
from mailbox.states import PUBLIC_KINDS, MessageState, QuarantineState

PAGE = [
    OpenApiParameter("cursor", str, description="`next` of the page before."),
    OpenApiParameter("limit", int, description="At most 200."),
]
TIMEOUT = OpenApiParameter(
    "timeout", float, description="Seconds to wait, up to 300; none unless told. No call is held for over 25."
)
QUARANTINE_FILTERS = [
    OpenApiParameter("state", str, description=f"One of {', '.join(QuarantineState.values)}."),
    OpenApiParameter("source", str, description="Where it came from."),
    OpenApiParameter("address", str, description="Whom it was for."),
]
MESSAGE_FILTERS = [OpenApiParameter("state", str, description=f"One of {', '.join(MessageState.values)}.")]

_lease: dict[str, Any] = {
    "required": False,
    "allow_null": True,
    "max_value": LONGEST_LEASE,
    "help_text": "60 unless told.",
}
_from = outline(
    "MessageFrom",
    {
        "session_id": rest.UUIDField(allow_null=True, required=False),
        "role": rest.CharField(allow_null=True, required=False, max_length=LONGEST_ROLE),
        "claimed": rest.BooleanField(
            required=False, help_text="Whether that is only the sender's word; shown, and not read."
        ),
    },
    allow_null=True,
    required=False,
)


def _message(shown: bool) -> dict[str, rest.Field]:
    """What a message is; one that is shown has all of it, and one that is handed in need not."""
    return {
        "id": rest.CharField(required=shown, max_length=LONGEST_ID, help_text="The same id is the same message."),
        "message_kind": rest.CharField(help_text=f"One of {', '.join(sorted(PUBLIC_KINDS))}."),
        "from": type(_from)(required=shown, allow_null=not shown),
        "body": rest.JSONField(help_text="At most 256 KiB and 64 levels; ask: {question, mode}, reply: {answer}."),
        "correlation_id": rest.CharField(allow_null=True, required=shown, max_length=LONGEST_ID),
        "created_at": rest.DateTimeField(
            allow_null=not shown, required=shown, help_text="Kept and shown; decides nothing."
        ),
    }


NewMessage = outline("NewMessage", _message(shown=False))
NewMessages = outline(
    "NewMessages",
    {"messages": rest.ListField(child=NewMessage, min_length=1, max_length=MOST_AT_ONCE)},
)
OneOrMany = PolymorphicProxySerializer("MessageOrMessages", [NewMessage, NewMessages], resource_type_field_name=None)

_accepted: dict[str, rest.Field] = {
    "id": rest.CharField(),
    "address": rest.CharField(),
    "seq": rest.IntegerField(help_text="Its number at its address; first deliveries are in this order."),
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
    "state": rest.CharField(help_text=f"One of {', '.join(MessageState.values)}."),
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
        "claim": rest.UUIDField(allow_null=True, help_text="Null: the claim holds nothing any more."),
        "lease_expires_at": rest.DateTimeField(allow_null=True),
        "ids": rest.ListField(child=rest.CharField(), help_text="What it still holds."),
    },
)
_ids: dict[str, rest.Field] = {
    "claim": rest.UUIDField(),
    "ids": rest.ListField(child=rest.CharField(max_length=LONGEST_ID), max_length=MOST),
}
_consumer: dict[str, Any] = {"required": False, "max_length": LONGEST_ID}
_unknown = rest.ListField(child=rest.CharField(), help_text="Not held by this claim, or not any more.")
Drain = outline(
    "MailboxDrain",
    {
        "limit": rest.IntegerField(required=False, min_value=1, max_value=MOST, help_text="100 unless told."),
        "lease_secs": rest.FloatField(**_lease),
        "consumer": rest.CharField(**_consumer, help_text="Who may `recover` this claim before it lapses."),
    },
)
Recover = outline("MailboxRecover", {"lease_secs": rest.FloatField(**_lease), "consumer": rest.CharField(**_consumer)})
Ack = outline("MailboxAck", _ids)
Acked = outline("MailboxAcked", {"acked": rest.ListField(child=rest.CharField()), "unknown": _unknown})
Nack = outline(
    "MailboxNack",
    {
        **_ids,
        "delay_secs": rest.FloatField(required=False, min_value=0, max_value=LONGEST_DELAY, help_text="0 unless told."),
    },
)
Nacked = outline("MailboxNacked", {"nacked": rest.ListField(child=rest.CharField()), "unknown": _unknown})
Extend = outline("MailboxExtend", {"claim": rest.UUIDField(), "lease_secs": rest.FloatField(**_lease)})
Reply = outline(
    "MailboxReply",
    {"ask_id": rest.CharField(help_text="The id of an ask that was drained here."), "answer": rest.JSONField()},
)
Replied = outline("MailboxReplied", {"id": rest.CharField(), "ask_id": rest.CharField()})
Asked = outline(
    "MailboxAsked",
    {
        "status": rest.CharField(help_text="`answered` or `pending`; what follows only with an answer."),
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
    "position": rest.IntegerField(allow_null=True, help_text="Where reading broke off, if that is known."),
    "size": rest.IntegerField(),
    "state": rest.CharField(help_text=f"One of {', '.join(QuarantineState.values)}."),
    "created_at": rest.DateTimeField(),
    "settled_at": rest.DateTimeField(allow_null=True),
    "settled_by": rest.CharField(allow_null=True),
    "note": rest.CharField(allow_null=True),
    "raw": rest.CharField(help_text="Base64 of the bytes; a list shows their beginning."),
    "raw_is_whole": rest.BooleanField(),
}
Quarantined = outline("Quarantined", _quarantined)
QuarantinePage = outline(
    "QuarantinePage",
    {"results": type(Quarantined)(many=True), "next": rest.CharField(allow_null=True)},
)
Requeue = outline(
    "QuarantineRequeue",
    {
        "message": rest.JSONField(required=False, help_text="The edited message; without it, as it was kept."),
        "address": rest.CharField(required=False, help_text="Whom it is for, when the message does not say."),
    },
)
Discard = outline("QuarantineDiscard", {"note": rest.CharField(max_length=LONGEST_NOTE, help_text="Why.")})
