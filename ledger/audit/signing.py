"""Sign statements with Ed25519, as JWS (RFC 7515), so that a copy can be verified offline.

A private key is stored sealed with a key that is made from `SECRET_KEY`: a copy of the database alone signs nothing. A
public key stays published after its key was rotated away, so old signatures can be verified.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import logging
from typing import Any

import msgspec
from cryptography.fernet import InvalidToken
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt import api_jws

from core import sealing
from core.db.clock import Now, moment
from ledger import unit_of_work
from ledger.models import SigningKey
from wardroom.jcs import canonical

ALGORITHM = "EdDSA"
PURPOSE = "wardroom signing keys"
log = logging.getLogger(__name__)


def sign(statement: dict[str, Any], kind: str) -> tuple[str, str]:
    """Return the compact JWS of a statement, and the id of its key. `kind` is the `typ` of the header.

    Ed25519 is deterministic: the same statement and key give the same text.
    """
    row, key = _current()
    payload = canonical(statement).encode()
    return api_jws.encode(payload, key, algorithm=ALGORITHM, headers={"kid": row.id, "typ": kind}), row.id


def published() -> list[dict[str, Any]]:
    """Return every public key, newest first, as JWK (RFC 8037). `retired_at` is set once it signs no more."""
    if not SigningKey.objects.exists():
        _current()
    return [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": ALGORITHM,
            "use": "sig",
            "kid": row.id,
            "x": row.public,
            "created_at": moment(row.created_at),
            "retired_at": None if row.retired_at is None else moment(row.retired_at),
        }
        for row in SigningKey.objects.order_by("-created_at", "id")
    ]


def rotate() -> str:
    """Sign with a new key from now on, and return its id."""
    with unit_of_work.transaction():
        SigningKey.objects.filter(retired_at=None).update(retired_at=Now())
        return _create()[0].id


def _current() -> tuple[SigningKey, Ed25519PrivateKey]:
    """Return the oldest key that is not retired and can be opened. Two processes that both make the first one agree."""
    for row in SigningKey.objects.filter(retired_at=None).order_by("created_at", "id"):
        try:
            return row, _open(row.sealed)
        except InvalidToken:
            log.warning("signing key %s cannot be opened: it was sealed with another SECRET_KEY", row.id)
    return _create()


def _create() -> tuple[SigningKey, Ed25519PrivateKey]:
    key = Ed25519PrivateKey.generate()
    raw = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    public = _b64(key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))
    thumbprint = _b64(hashlib.sha256(msgspec.json.encode({"crv": "Ed25519", "kty": "OKP", "x": public})).digest())
    with unit_of_work.transaction():
        row = SigningKey.objects.create(id=thumbprint, public=public, sealed=sealing.box(PURPOSE).encrypt(raw).decode())
    log.info("made the signing key %s", row.id)
    return row, key


@functools.lru_cache(maxsize=8)
def _open(sealed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sealing.box(PURPOSE).decrypt(sealed.encode()))


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
