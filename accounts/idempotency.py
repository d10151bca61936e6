"""`Idempotency-Key` on POSTs that create or decide: the same key and body, the same answer."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import problems
from accounts.models import IdempotencyKey
from accounts.views import ProjectView

Handler = TypeVar("Handler", bound=Callable[..., Response])
KEPT_HEADERS = ("Location",)


def idempotent(*, redact: tuple[str, ...] = ()) -> Callable[[Handler], Handler]:
    """Make a handler answer a repeated key with its first answer; members named in `redact` come back as null.

    The key's row, what the handler writes and the answer are one transaction: a crash keeps all or nothing, and
    a second caller with the same key waits for the first and then gets its answer. A handler that raises leaves
    no row behind, so the caller may try again.
    """

    def around(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def wrapped(view: ProjectView, request: Request, *args: Any, **kwargs: Any) -> Response:
            key = request.headers.get("Idempotency-Key", "")
            if not key:
                return handler(view, request, *args, **kwargs)
            with transaction.atomic():
                row, earlier = _claim(view, request, key)
                if earlier is not None:
                    return earlier
                answer = handler(view, request, *args, **kwargs)
                _keep(row, answer, redact)
            return answer

        return keyed(wrapped)  # type: ignore[return-value]

    return around


def keyed(handler: Handler) -> Handler:
    """Mark a handler that honours the key, for the OpenAPI document. For one that does so in a way of its own."""
    handler.honours_key = True  # type: ignore[attr-defined]
    return handler


def _claim(view: ProjectView, request: Request, key: str) -> tuple[IdempotencyKey, Response | None]:
    if len(key) > 255 or not key.isprintable():
        raise problems.invalid([{"field": "Idempotency-Key", "detail": "at most 255 printable characters"}])
    body = hashlib.sha256(json.dumps(request.data, sort_keys=True).encode()).hexdigest()
    mine = {"credential": view.credential, "route": f"{request.method} {request.path}"[:300], "key": key}
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(**mine, body_hash=body), None
    except IntegrityError:
        row = IdempotencyKey.objects.filter(**mine).first()
    if row is None or row.status is None:
        raise problems.conflict("A call with this Idempotency-Key is still running.", "still-running")
    if row.body_hash != body:
        raise problems.invalid(
            [{"field": "Idempotency-Key", "detail": "was used with another body"}],
            "This key means another call.",
        )
    return row, Response(row.answer, status=row.status, headers={**row.headers, "Idempotent-Replayed": "true"})


def _keep(row: IdempotencyKey, answer: Response, redact: tuple[str, ...]) -> None:
    body = json.loads(json.dumps(answer.data, default=str))
    for name in redact:
        if isinstance(body, dict) and body.get(name) is not None:
            held = body[name]
            body[name] = {**held, "token": None} if isinstance(held, dict) else None
    row.status, row.answer = answer.status_code, body
    row.headers = {name: answer[name] for name in KEPT_HEADERS if answer.has_header(name)}
    row.save(update_fields=["status", "answer", "headers"])
