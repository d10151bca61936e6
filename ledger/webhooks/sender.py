"""Send the deliveries of one webhook, in order, over one connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import h11
from cryptography.fernet import InvalidToken
from django.conf import settings

from core.db.clock import database_now, later
from core.limits import LIMITS
from ledger.deliveries.senders import Job, Outcome, Sender
from ledger.models import Delivery, DisabledReason, Lane, Webhook
from ledger.webhooks import addresses, receivers, signing
from ledger.webhooks.addresses import Refused, Target
from ledger.webhooks.exchange import Answer, Exchange

KIND = "webhook"
#: The longest pause that a receiver may ask for.
LONGEST_ASKED_PAUSE_SECS = 3600
GONE = 410
#: A receiver has this long for the body of its answer, which nobody reads: only the connection may go on after it.
BODY_SECS = 1.0


@dataclass(frozen=True, slots=True)
class _Letter:
    id: UUID
    body: str


def message_id(delivery: UUID) -> str:
    """Return the header `webhook-id`: the same in every try."""
    return f"msg_{delivery.hex}"


def prepare(rows: Sequence[Delivery]) -> Job:
    """Read the webhook and its secrets, and return the job."""
    webhook = rows[0].webhook
    if webhook is None:
        return _nothing
    letters = [_Letter(row.pk, row.payload) for row in rows]
    try:
        target = addresses.parse(webhook.url, private=settings.WEBHOOKS_PRIVATE)
        keys = [signing.opened(webhook.secret)]
        in_rotation = Webhook.objects.filter(pk=webhook.pk, previous_until__gt=database_now()).exists()
        if in_rotation and webhook.previous_secret is not None:
            keys.append(signing.opened(webhook.previous_secret))
    except (Refused, InvalidToken) as error:
        why = f"the URL {error}" if isinstance(error, Refused) else "its secret was sealed with another SECRET_KEY"
        failure = Outcome(delivery=letters[0].id, is_sent=False, error=why)

        async def refused() -> list[Outcome]:
            return [failure]

        return refused

    return lambda: _send_all(target, keys, letters)


async def _nothing() -> list[Outcome]:
    return []


async def _send_all(target: Target, keys: list[bytes], letters: list[_Letter]) -> list[Outcome]:
    """Send until one fails or the time of a job is over."""
    exchange, outcomes = Exchange(target, private=settings.WEBHOOKS_PRIVATE), list[Outcome]()
    end = time.monotonic() + LIMITS.delivery_timeout_secs
    try:
        for letter in letters:
            if outcomes and time.monotonic() > end:
                break
            outcomes.append(await _send(exchange, keys, letter))
            if not outcomes[-1].is_sent:
                break
    finally:
        exchange.close()
    return outcomes


async def _send(exchange: Exchange, keys: list[bytes], letter: _Letter) -> Outcome:
    began, answer = time.monotonic(), Answer()
    # The clock of this host: a receiver compares it with its own.
    at, name = int(time.time()), message_id(letter.id)
    headers = [
        ("webhook-id", name),
        ("webhook-timestamp", str(at)),
        ("webhook-signature", signing.signature(keys, name, at, letter.body)),
    ]
    error = await _post(exchange, headers, letter.body.encode(), answer)
    # A receiver that has sent the status has the message, whatever becomes of the rest of its answer.
    status = answer.status
    is_sent = status is not None and 200 <= status < 300
    if answer.can_go_on:
        exchange.next()
    else:
        exchange.close()
    if not is_sent and status is not None:
        error = f"it answered {status}" + (": redirects are not followed" if 300 <= status < 400 else "")
    return Outcome(
        delivery=letter.id,
        is_sent=is_sent,
        status=status,
        error="" if is_sent else error,
        took_ms=round(1000 * (time.monotonic() - began)),
        pause_secs=min(answer.retry_after, LONGEST_ASKED_PAUSE_SECS),
    )


async def _post(exchange: Exchange, headers: list[tuple[str, str]], body: bytes, answer: Answer) -> str:
    """Post within the time of one try. Return the error, or an empty text."""
    try:
        async with asyncio.timeout(LIMITS.delivery_timeout_secs):
            if exchange.is_open:
                # The receiver may have closed an idle connection. A new one shows whether it is there.
                with contextlib.suppress(OSError, h11.ProtocolError):
                    await exchange.post(headers, body, answer, body_secs=BODY_SECS)
            if answer.status is None:
                exchange.close()
                await exchange.open()
                await exchange.post(headers, body, answer, body_secs=BODY_SECS)
    except Refused as refusal:
        return f"the host {refusal}"
    except TimeoutError:
        return f"no answer within {LIMITS.delivery_timeout_secs:g} s"
    except ssl.SSLError as trouble:
        return f"TLS: {trouble.reason or trouble}"
    except OSError as trouble:
        return f"no connection: {trouble.strerror or type(trouble).__name__}"
    except h11.ProtocolError as trouble:
        return f"not HTTP: {trouble}"
    return ""


def failed(lane: str, outcome: Outcome) -> None:
    """Disable a webhook that is gone, or has failed for days. Joins the transaction that records the outcome."""
    webhook_id = UUID(lane.partition(":")[2])
    too_long = Lane.objects.filter(name=lane, failing_since__lte=later(-LIMITS.webhook_disable_secs))
    if outcome.status == GONE:
        receivers.disable(webhook_id, DisabledReason.GONE)
    elif too_long.exists():
        receivers.disable(webhook_id, DisabledReason.FAILING)


SENDER = Sender(prepare, failed)
