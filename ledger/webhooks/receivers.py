"""Add, change, test, rotate, disable and remove webhooks. Each change is an audit row."""

from __future__ import annotations

import fnmatch
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.actors import Actor
from accounts.models import Project
from core.db.clock import database_now, later
from core.limits import LIMITS
from core.web import problems
from ledger import feed, unit_of_work
from ledger.models import DisabledReason, Lane, Webhook
from ledger.webhooks import addresses, signing

SELF = Actor.system("webhooks")
#: The seconds for which a replaced secret signs too.
ROTATION_SECS = 86400
RETRY_SECS = 3600


def create(
    project_id: UUID, actor: Actor, *, url: str, types: list[str], name: str = "", after: int | None = None
) -> tuple[Webhook, str]:
    """Add a webhook. Return it and its secret, which is shown this once.

    It begins after the cursor `after`, or at the present end of the feed. Raises invalid and too-many.
    """
    _check(url)
    secret, sealed = signing.new_secret()
    with unit_of_work.transaction():
        # The project's row is the lock for the count.
        Project.objects.select_for_update(no_key=True).get(pk=project_id)
        if Webhook.objects.filter(project_id=project_id).count() >= LIMITS.webhooks_per_project:
            raise problems.too_many(f"A project has at most {LIMITS.webhooks_per_project} webhooks.", RETRY_SECS)
        webhook = Webhook.objects.create(
            project_id=project_id,
            url=url,
            name=name,
            types=types,
            secret=sealed,
            cursor=_start(project_id, after),
            created_by=str(actor),
        )
        _audit(webhook, actor, "created", types=types)
        return Webhook.objects.get(pk=webhook.pk), secret


def change(
    webhook: Webhook, actor: Actor, *, url: str, types: list[str], name: str, enabled: bool, after: int | None = None
) -> Webhook:
    """Replace the settings of a webhook. One that is enabled again goes on where it stopped, or after `after`."""
    _check(url)
    with unit_of_work.transaction():
        found = Webhook.objects.select_for_update().filter(pk=webhook.pk).first()
        if found is None:
            raise problems.not_found()
        columns: dict[str, Any] = {"url": url, "types": types, "name": name}
        if after is not None:
            columns["cursor"] = _start(webhook.project_id, after)
        if enabled != (found.disabled is None):
            columns |= {"disabled": None if enabled else DisabledReason.BY_HAND}
            columns |= {"disabled_at": None if enabled else database_now()}
        Webhook.objects.filter(pk=webhook.pk).update(**columns)
        # A changed receiver is tried at once.
        fresh = {"paused_until": None, "failures": 0, "failing_since": None, "is_held": not enabled}
        Lane.objects.filter(name=webhook.lane).update(**fresh)
        _audit(found, actor, "changed", types=types, enabled=enabled, to=Webhook(url=url).host)
        return Webhook.objects.get(pk=webhook.pk)


def remove(webhook: Webhook, actor: Actor) -> None:
    """Remove a webhook with its deliveries."""
    with unit_of_work.transaction():
        Lane.objects.filter(name=webhook.lane).delete()
        if Webhook.objects.filter(pk=webhook.pk).delete()[0]:
            _audit(webhook, actor, "removed")


def rotate(webhook: Webhook, actor: Actor) -> tuple[Webhook, str]:
    """Make a new secret, and return it. Both sign for a day, so that a receiver can change over."""
    secret, sealed = signing.new_secret()
    with unit_of_work.transaction():
        found = Webhook.objects.select_for_update().filter(pk=webhook.pk).first()
        if found is None:
            raise problems.not_found()
        Webhook.objects.filter(pk=webhook.pk).update(
            secret=sealed, previous_secret=found.secret, previous_until=later(ROTATION_SECS)
        )
        _audit(found, actor, "secret_rotated")
        return Webhook.objects.get(pk=webhook.pk), secret


def disable(webhook_id: UUID, reason: DisabledReason) -> None:
    """Disable a webhook that cannot be reached. Its waiting deliveries stay. Joins the caller's transaction."""
    with unit_of_work.transaction():
        for webhook in Webhook.objects.filter(pk=webhook_id, disabled=None):
            if not Webhook.objects.filter(pk=webhook_id, disabled=None).update(
                disabled=reason, disabled_at=database_now()
            ):
                return
            Lane.objects.filter(name=webhook.lane).update(is_held=True)
            payload = {"webhook_id": str(webhook.pk), "reason": reason.value}
            unit_of_work.event(webhook.project_id, "webhook_disabled", payload)
            _audit(webhook, SELF, "disabled", reason=reason.value)


def wants(webhook: Webhook, type: str) -> bool:
    """Return True if one of its globs matches the type of an event."""
    return any(fnmatch.fnmatchcase(type, glob) for glob in webhook.types)


def _check(url: str) -> None:
    try:
        addresses.parse(url, private=settings.WEBHOOKS_PRIVATE)
    except addresses.Refused as refusal:
        raise problems.invalid([{"field": "url", "detail": str(refusal)}]) from None


def _start(project_id: UUID, after: int | None) -> int:
    newest = feed.head(project_id)
    if after is not None and after > newest:
        raise problems.invalid([{"field": "after", "detail": "must be a cursor of the feed"}])
    return newest if after is None else after


def _audit(webhook: Webhook, actor: Actor, change: str, **detail: Any) -> None:
    told = {"host": webhook.host, **detail}
    unit_of_work.audit(webhook.project_id, actor, f"webhook.{change}", f"webhook:{webhook.pk}", told)
