"""The secrets of webhooks and their signatures, by Standard Webhooks (`v1`, HMAC-SHA256)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from core import sealing

PREFIX = "whsec_"
SECRET_BYTES = 32
PURPOSE = "wardroom webhook secrets"


def new_secret() -> tuple[str, str]:
    """Return a new secret as its owner sees it, and as it is stored."""
    raw = secrets.token_bytes(SECRET_BYTES)
    return PREFIX + base64.b64encode(raw).decode(), sealing.box(PURPOSE).encrypt(raw).decode()


def opened(sealed: str) -> bytes:
    """Return the bytes of a stored secret. Raises `cryptography.fernet.InvalidToken` with a foreign `SECRET_KEY`."""
    return sealing.box(PURPOSE).decrypt(sealed.encode())


def signature(keys: Sequence[bytes], message_id: str, at: int, body: str) -> str:
    """Return the header `webhook-signature`: one signature for each key, the newest first."""
    signed = f"{message_id}.{at}.{body}".encode()
    made = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(each).decode()}" for each in made)
