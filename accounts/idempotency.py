"""`Idempotency-Key` on POSTs that create or decide: the same key and body, the same answer."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import IntegrityError, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import IdempotencyKey
from core.db.write_lock import hand_on, turn_to_write
from core.web import problems
from core.web.idempotency_key import LONGEST_KEY, PATTERN

if TYPE_CHECKING:
    from accounts.views import ProjectView

Handler = TypeVar("Handler", bound=Callable[..., Response])
#: `still(view, answer, **path parameters)` raises what the caller would be refused with now.
Still = Callable[..., None]

KEY = "Idempotency-Key"
KEPT_HEADERS = ("Location",)
#: On an answer that was given before.
REPLAYED = {"Idempotency-Replayed": "true"}
#: How soon a caller may ask again whose first call with this key is still running.
RETRY_SECS = 1


def idempotent(still: Still, *, redact: tuple[str, ...] = ()) -> Callable[[Handler], Handler]:
    """Make a handler answer a repeated key with its first answer; members named in `redact` come back as null.

    The key's row, what the handler writes and the answer are one transaction: a crash keeps all or nothing, and
    a second caller with the same key waits for the first and then gets its answer. A handler that raises leaves
    no row behind, so the caller may try again. `still` judges each replay: what the caller may no longer do or see, an
    answer of before does not give it either.
    """

    def around(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def wrapped(view: ProjectView, request: Request, *args: Any, **kwargs: Any) -> Response:
            key = judged(sent_with(request), takes_key=True)
            if not key:
                return handler(view, request, *args, **kwargs)
            with turn_to_write(), transaction.atomic():
                transaction.on_commit(hand_on)
                row, is_new = _claim(view, request, key)
                if not is_new:
                    still(view, row.answer, *args, **kwargs)
                    return Response(row.answer, status=row.status, headers=row.headers | REPLAYED)
                answer = handler(view, request, *args, **kwargs)
                _keep(row, answer, redact)
            return answer

        return keyed(wrapped)  # type: ignore[return-value]

    return around


def keyed(handler: Handler) -> Handler:
    """Mark a handler that honours the key, for the OpenAPI document. For one that does so in a way of its own."""
    handler.honours_key = True  # type: ignore[attr-defined]
    return handler


def judged(keys: Sequence[str], *, takes_key: bool) -> str:
    """The one key that a call was sent with, or an empty text for none. Raises invalid for one that means nothing."""
    if not keys:
        return ""
    if not takes_key:
        raise _invalid("is not taken by this call")
    if len(keys) > 1:
        raise _invalid("is given twice")
    if len(keys[0]) > LONGEST_KEY or not re.fullmatch(PATTERN, keys[0]):
        raise _invalid(f"must be 1 to {LONGEST_KEY} printable characters")
    return keys[0]


def sent_with(request: Request) -> list[str]:
    """Every `Idempotency-Key` of a call. Django joins headers of one name; the server's own list has them apart."""
    scope = getattr(request._request, "scope", None)
    if scope is None:
        return [request.headers[KEY]] if KEY in request.headers else []
    return [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == KEY.lower().encode()]


def _claim(view: ProjectView, request: Request, key: str) -> tuple[IdempotencyKey, bool]:
    """The key's row, and whether it is this call's own."""
    body = hashlib.sha256(json.dumps(request.data, sort_keys=True).encode()).hexdigest()
    mine = {"credential": view.credential, "route": _route(view, request), "key": key}
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(**mine, body_hash=body), True
    except IntegrityError:
        row = IdempotencyKey.objects.filter(**mine).first()
    if row is None or row.status is None:
        raise problems.Problem(
            "still-running",
            409,
            f"A call with this {KEY} is still running.",
            headers={"Retry-After": str(RETRY_SECS)},
        )
    if row.body_hash != body:
        raise problems.invalid([{"field": KEY, "detail": "was used with another body"}], "This key means another call.")
    return row, False


def _route(view: ProjectView, request: Request) -> str:
    """What is called, however its path is written."""
    match = request._request.resolver_match
    return " ".join([str(request.method), match.route if match else "", *map(str, view.kwargs.values())])[:300]


def _keep(row: IdempotencyKey, answer: Response, redact: tuple[str, ...]) -> None:
    body = json.loads(json.dumps(answer.data, default=str))
    for name in redact:
        if isinstance(body, dict) and body.get(name) is not None:
            held = body[name]
            body[name] = {**held, "token": None} if isinstance(held, dict) else None
    row.status, row.answer = answer.status_code, body
    row.headers = {name: answer[name] for name in KEPT_HEADERS if answer.has_header(name)}
    row.save(update_fields=["status", "answer", "headers"])


def _invalid(why: str) -> problems.Problem:
    return problems.invalid([{"field": KEY, "detail": why}], "The call's key is not valid.")
