"""Seal secrets for the database with a key made from `SECRET_KEY`: a copy of the database alone reveals none."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def box(purpose: str) -> MultiFernet:
    """Return the box of one kind of secret. It also opens those sealed with `SECRET_KEY_FALLBACKS`.

    Opening raises `cryptography.fernet.InvalidToken` for a secret that was sealed with another key.
    """

    def of(secret: str) -> Fernet:
        made = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose.encode())
        return Fernet(base64.urlsafe_b64encode(made.derive(secret.encode())))

    return MultiFernet([of(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])
