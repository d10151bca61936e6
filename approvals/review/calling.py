"""Call a reviewer and read its text, without the database: on the event loop of a round, within the deadline."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import h11
from django.conf import settings

from core.limits import LIMITS
from ledger.webhooks import addresses, signing
from ledger.webhooks.addresses import Refused
from ledger.webhooks.exchange import MOST_BODY, Answer, Exchange

#: A program has no use for the secrets of this server. It is code of this server all the same, and not contained.
_SECRETS = (
    "BROKER_URL",
    "CHAT_URLS",
    "CLOUDAMQP_URL",
    "DATABASE_URL",
    "EMAIL_URL",
    "INGEST_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
)
OK = 200
#: The exit status of a program that gives no text.
FAULT = 3


class NoReply(Exception):
    """The reviewer gave no text. `why` are words of ours, and `said` those of the reviewer, which nobody verified.

    It quotes nothing of a webhook's answer: staff read it, and the URL may be that of another service inside.
    """

    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(": ".join(filter(None, (why, said))))
        self.why, self.said = why, said


class Said(NamedTuple):
    """The text of a reviewer. A webhook has named its media type, perhaps."""

    text: str
    media_type: str = ""


async def webhook(url: str, keys: Sequence[bytes], review: str, body: str, secs: float) -> Said:
    """Post a signed request and return the text of the answer. Raises NoReply."""
    try:
        target = addresses.parse(url, private=settings.WEBHOOKS_PRIVATE)
        exchange, answer = Exchange(target, private=settings.WEBHOOKS_PRIVATE), Answer()
        at, name = int(time.time()), f"rev_{review}"
        headers = [
            ("webhook-id", name),
            ("webhook-timestamp", str(at)),
            ("webhook-signature", signing.signature(keys, name, at, body)),
        ]
        try:
            async with asyncio.timeout(min(secs, LIMITS.delivery_timeout_secs)):
                await exchange.open()
            async with asyncio.timeout(secs):
                await exchange.post(headers, body.encode(), answer)
        finally:
            exchange.close()
    except Refused as refusal:
        raise NoReply(f"the URL {refusal}") from None
    except TimeoutError:
        raise NoReply(f"no answer within {secs:.0f} s") from None
    except ssl.SSLError as trouble:
        raise NoReply(f"TLS: {trouble.reason or trouble}") from None
    except OSError as trouble:
        raise NoReply(f"no connection: {trouble.strerror or type(trouble).__name__}") from None
    except h11.ProtocolError as trouble:
        raise NoReply("not HTTP", str(trouble)) from None
    if answer.status != OK:
        raise NoReply(f"it answered {answer.status}")
    if not answer.says_its_end:
        # A connection that breaks, or that somebody on the way ends, would cut the answer unseen.
        raise NoReply("its answer does not say where it ends: send Content-Length")
    if not answer.is_whole:
        raise NoReply(f"its answer is larger than {MOST_BODY} bytes")
    return Said(_text(bytes(answer.body)), answer.media_type)


async def program(entry_point: str, body: str, secs: float) -> Said:
    """Run the reviewer of an installed package in a process of its own, and return its text. Raises NoReply.

    The process ends itself soon after the deadline, so it does not outlive a worker that was killed for long.
    """
    env = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wardroom.reviewers", entry_point, str(secs),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True, env=env,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None  # noqa: S101 - for the types: both are pipes
    try:
        async with asyncio.timeout(secs):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                child.stdin.write(body.encode())
                await child.stdin.drain()
            child.stdin.close()
            said = await child.stdout.read(1)
            while said and len(said) <= MOST_BODY and (more := await child.stdout.read(MOST_BODY)):
                said += more
            if len(said) > MOST_BODY:
                raise NoReply(f"its answer is larger than {MOST_BODY} bytes")
            status = await child.wait()
    except TimeoutError:
        raise NoReply(f"no answer within {secs:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    if status == FAULT:
        raise NoReply("", _text(said))
    if status != 0:
        raise NoReply(f"it ended with status {status}")
    return Said(_text(said))


def _text(said: bytes) -> str:
    try:
        return said.decode()
    except UnicodeDecodeError:
        raise NoReply("its answer is not UTF-8") from None
