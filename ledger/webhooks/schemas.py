"""The answers of the webhook calls."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Struct, UnsetType

from core.db.clock import moment
from core.web.fields import Id, Moment, one_of, says
from ledger import models
from ledger.models import DeliveryState, DisabledReason, Lane
from ledger.webhooks.sender import message_id


class Webhook(Struct, frozen=True):
    id: Id
    url: str
    name: str
    types: list[str]
    enabled: bool
    disabled: Annotated[str | None, one_of(sorted(DisabledReason.values), says="Why it is not enabled.")]
    disabled_at: Moment | None
    cursor: Annotated[int, says("Events up to here have their deliveries.")]
    failures: Annotated[int, says("Failures since the last success.")]
    failing_since: Moment | None
    previous_secret_until: Annotated[Moment | None, says("Until then the secret before the rotation signs too.")]
    created_at: Moment
    created_by: str
    secret: Annotated[str | UnsetType, says("Shown once: in the answer that made it.")] = UNSET


class WebhookPage(Struct, frozen=True):
    results: list[Webhook]
    next: str | None


class Delivery(Struct, frozen=True):
    id: Id
    message_id: Annotated[str, says("The header `webhook-id`, the same in every try.")]
    type: str
    cursor: int | None
    state: Annotated[str, one_of(sorted(DeliveryState.values))]
    created_at: Moment
    due_at: Annotated[Moment | None, says("The next try, while it waits.")]
    settled_at: Moment | None
    tries: int
    last_status: Annotated[int | None, says("The HTTP status of the last answer.")]
    last_error: str
    took_ms: int | None


class DeliveryPage(Struct, frozen=True):
    results: list[Delivery]
    next: str | None


def webhook(row: models.Webhook, *, secret: str | UnsetType = UNSET) -> Webhook:
    """Return a webhook as callers see it."""
    lane = Lane.objects.filter(name=row.lane).first() or Lane(name=row.lane)
    return Webhook(
        id=str(row.pk),
        url=row.url,
        name=row.name,
        types=row.types,
        enabled=row.disabled is None,
        disabled=row.disabled,
        disabled_at=_moment(row.disabled_at),
        cursor=row.cursor,
        failures=lane.failures,
        failing_since=_moment(lane.failing_since),
        previous_secret_until=_moment(row.previous_until),
        created_at=moment(row.created_at),
        created_by=row.created_by,
        secret=secret,
    )


def delivery(row: models.Delivery) -> Delivery:
    """Return a delivery as callers see it. Its payload is the event, which they can read in the feed."""
    return Delivery(
        id=str(row.pk),
        message_id=message_id(row.pk),
        type=row.type,
        cursor=row.cursor,
        state=row.state,
        created_at=moment(row.created_at),
        due_at=_moment(row.due_at) if row.state == DeliveryState.WAITING else None,
        settled_at=_moment(row.settled_at),
        tries=row.tries,
        last_status=row.last_status,
        last_error=row.last_error,
        took_ms=row.took_ms,
    )


def _moment(at: Any) -> str | None:
    return None if at is None else moment(at)
