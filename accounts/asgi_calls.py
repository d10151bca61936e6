"""The checks of `ProjectView` for a call that is answered before Django: its query and its idempotency key."""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import Request

from accounts import idempotency
from core.web import queries


def check(request: Request, query: Collection[str] = (), *, takes_key: bool = False) -> str:
    """Return the call's `Idempotency-Key`, or an empty text. Raises invalid for an unknown query parameter or key.

    Call it after authentication: an unknown caller learns nothing about the parameters.
    """
    queries.check(request.query_params.multi_items(), query)
    return idempotency.check_key(request.headers.getlist("idempotency-key"), takes_key=takes_key)
