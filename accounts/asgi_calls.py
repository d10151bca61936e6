"""What `ProjectView` judges of every call, for a call that is answered before Django: its query, and its key."""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import Request

from accounts import idempotency
from core.web import queries


def judge(request: Request, query: Collection[str] = (), *, takes_key: bool = False) -> str:
    """The call's `Idempotency-Key`, or an empty text. Raises invalid for a query or a key that the call does not take.

    Call it once the caller is known: a stranger learns nothing of our parameters.
    """
    queries.check(request.query_params.multi_items(), query)
    return idempotency.judged(request.headers.getlist("idempotency-key"), takes_key=takes_key)
