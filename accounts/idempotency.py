"""`Idempotency-Key` on POSTs that create or decide: the same key and body get the same answer."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from django.db import IntegrityError, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import audit_hook
from accounts.models import IdempotencyKey
from core.web import problems
from core.web.idempotency_key import LONGEST_KEY, PATTERN

if TYPE_CHECKING:
    from accounts.views import ProjectView

Handler = TypeVar("Handler", bound=Callable[..., Response])
#: `still(view, answer, **path parameters)` raises the refusal that the caller would get now.
Still = Callable[..., None]

KEY = "Idempotency-Key"
KEPT_HEADERS = ("Location",)
#: The header of a replayed answer.
REPLAYED = {"Idempotency-Replayed": "true"}
#: Seconds after which a caller may retry while its first call with this key still runs.
RETRY_SECS = 1


def idempotent(still: Still, *, redact: tuple[str, ...] = ()) -> Callable[[Handler], Handler]:
    """Make a handler answer a repeated key with its first answer. Members named in `redact` come back as null.

    The key's row, the handler's writes and the answer are one transaction: a crash keeps all or nothing. It is the
    ledger's transaction, so the handler's events take the ledger head after the answer is stored, last. A second
    caller with the same key waits for the first and then gets its answer. A handler that raises leaves no row, so the
    caller may try again. `still` checks each replay: an earlier answer gives a caller nothing that they may no longer
    do or see.
    """

    def around(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def wrapped(view: ProjectView, request: Request, *args: Any, **kwargs: Any) -> Response:
            key = check_key(sent_with(request), takes_key=True)
            if not key:
                return handler(view, request, *args, **kwargs)
            with audit_hook.transaction():
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
    """Mark a handler that honours the key, for the OpenAPI document. Use it for a handler with its own mechanism."""
    handler.honours_key = True  # type: ignore[attr-defined]
    return handler


def check_key(keys: Sequence[str], *, takes_key: bool) -> str:
    """Return the one key of a call, or an empty text. Raises invalid for a key that is malformed or not accepted."""
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
    """Return every `Idempotency-Key` of a call. Django joins repeated headers; the ASGI scope keeps them apart."""
    scope = getattr(request._request, "scope", None)
    if scope is None:
        return [request.headers[KEY]] if KEY in request.headers else []
    return [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == KEY.lower().encode()]


def _claim(view: ProjectView, request: Request, key: str) -> tuple[IdempotencyKey, bool]:
    """Return the key's row, and True when this call created it."""
    body = hashlib.sha256(json.dumps(request.data, sort_keys=True).encode()).hexdigest()
    # The route does not depend on the spelling of the path.
    match = request._request.resolver_match
    route = " ".join([str(request.method), match.route if match else "", *map(str, view.kwargs.values())])[:300]
    identity = {"credential": view.credential, "route": route, "key": key}
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(**identity, body_hash=body), True
    except IntegrityError:
        row = IdempotencyKey.objects.filter(**identity).first()
    if row is None or row.status is None:
        raise problems.Problem(
            "still-running",
            409,
            f"A call with this {KEY} is still running.",
            headers={"Retry-After": str(RETRY_SECS)},
        )
    if row.body_hash != body:
        raise problems.invalid(
            [{"field": KEY, "detail": "was used with another body"}], "This key belongs to another call."
        )
    return row, False


def _keep(row: IdempotencyKey, answer: Response, redact: tuple[str, ...]) -> None:
    body = msgspec.to_builtins(answer.data, enc_hook=str)
    for name in redact:
        if isinstance(body, dict) and body.get(name) is not None:
            held = body[name]
            body[name] = {**held, "token": None} if isinstance(held, dict) else None
    row.status, row.answer = answer.status_code, body
    row.headers = {name: answer[name] for name in KEPT_HEADERS if answer.has_header(name)}
    row.save(update_fields=["status", "answer", "headers"])


def _invalid(why: str) -> problems.Problem:
    return problems.invalid([{"field": KEY, "detail": why}], "The call's key is not valid.")
