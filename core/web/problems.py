"""Refusals as RFC 9457 problem+json with stable types. An operation raises one, and each endpoint answers it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, TooManyFieldsSent
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from core.db import outages
from core.web import faults
from wardroom.strict import StrictJSONError

CONTENT_TYPE = "application/problem+json"
#: The `Accept` header of a 415 (RFC 9110, 15.5.16).
ACCEPT = {"Accept": "application/json"}
#: The error text of an unknown field.
UNKNOWN = "is no field of this call"
log = logging.getLogger(__name__)


class Problem(Exception):
    """A refusal that the caller can understand. `type` is stable. `extra` members are added to the document."""

    def __init__(
        self, type: str, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.type = type
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def __str__(self) -> str:
        """Return the error and its fields in one line."""
        listed = (error for error in self.extra.get("errors", []) if error["detail"] != self.detail)
        errors = (": ".join(filter(None, (error["field"], error["detail"]))) for error in listed)
        return f"{self.detail} {'; '.join(errors)}".strip()

    def body(self) -> dict[str, Any]:
        """Return the problem document."""
        title = HTTPStatus(self.status).phrase
        return {"type": self.type, "title": title, "status": self.status, "detail": self.detail, **self.extra}

    def body_of(self, item: str) -> dict[str, Any]:
        """Return the problem document of one item of many.

        `item` is its path, as `messages[3]`, and prefixes each field.
        """
        body = self.body()
        if errors := body.get("errors"):
            fields = (".".join(filter(None, (item, error["field"]))) for error in errors)
            body["errors"] = [error | {"field": field} for field, error in zip(fields, errors, strict=True)]
        return body


def unauthenticated(detail: str = "Send a live token as `Authorization: Bearer <token>`.") -> Problem:
    """Return a 401: the caller is unknown."""
    return Problem("unauthenticated", 401, detail, headers={"WWW-Authenticate": "Bearer"})


def forbidden(detail: str, type: str = "forbidden") -> Problem:
    """Return a 403: the caller is known, but not allowed to do this."""
    return Problem(type, 403, detail)


def not_found(detail: str = "There is nothing here by that id.") -> Problem:
    """Return a 404: unknown, or in another project. The caller cannot distinguish the two."""
    return Problem("not-found", 404, detail)


def conflict(detail: str, type: str = "conflict", **extra: Any) -> Problem:
    """Return a 409: the call conflicts with the current state."""
    return Problem(type, 409, detail, **extra)


def gone(detail: str, type: str = "expired", **extra: Any) -> Problem:
    """Return a 410: the thing existed and has ended."""
    return Problem(type, 410, detail, **extra)


def invalid(errors: Sequence[Mapping[str, str]], detail: str = "The body is not valid.") -> Problem:
    """Return a 422. `errors` is a list of `{field, detail}`."""
    return Problem("invalid", 422, detail, errors=list(errors))


def too_many(detail: str, retry_after: int) -> Problem:
    """Return a 429: try again after `retry_after` seconds."""
    return Problem("too-many", 429, detail, headers={"Retry-After": str(retry_after)})


def busy(detail: str, retry_after: int = 1) -> Problem:
    """Return a 503: a bound of this server is reached. Nothing was done."""
    return Problem("busy", 503, detail, headers={"Retry-After": str(retry_after)})


def unavailable(reason: str) -> Problem:
    """Return a 503: the machine or the database fails now, and will recover. The call may have taken effect."""
    detail = f"Wardroom cannot do this now: {reason}. Try again, with the same Idempotency-Key or id."
    return Problem("unavailable", 503, detail, headers={"Retry-After": "5"})


def internal() -> Problem:
    """Return a 500: a bug of ours, which is in the log."""
    return Problem("internal", 500, "An internal error occurred; the server's log has the details.")


def response(problem: Problem) -> Response:
    """Return a problem as a DRF response."""
    return Response(problem.body(), status=problem.status, headers=problem.headers, content_type=CONTENT_TYPE)


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's hook: answer every refusal of ours, of DRF and of Django in one form. Bugs propagate."""
    problem = as_problem(error)
    return response(problem) if problem else None


def as_problem(error: Exception) -> Problem | None:
    """Return the refusal that an exception means, or None for a bug."""
    match error:
        case Problem():
            return error
        case StrictJSONError():
            return invalid([{"field": "", "detail": f"must be strict JSON: {error}"}])
        case TooManyFieldsSent():
            return invalid([{"field": "", "detail": "there are too many of them"}], "The query is not valid.")
        case Http404():
            return not_found()
        case PermissionDenied():
            return forbidden("You may not do that.")
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return unauthenticated()
        case exceptions.ValidationError():
            return invalid([{"field": path, "detail": str(said)} for path, said in faults.paths("", error.detail)])
        case exceptions.APIException():
            return _of_drf(error)
    if reason := outages.reason(error):
        outages.note(reason)
        log.warning("call refused with 503: %s", reason, exc_info=error)
        return unavailable(reason)
    return None


def _of_drf(error: exceptions.APIException) -> Problem:
    if isinstance(error, exceptions.UnsupportedMediaType):
        return Problem("invalid", 415, f"{error.detail} Send application/json.", headers=ACCEPT)
    kind = {404: "not-found", 429: "too-many", 403: "forbidden"}.get(error.status_code, "invalid")
    wait = getattr(error, "wait", None)
    headers = {"Retry-After": str(math.ceil(wait))} if wait is not None else {}
    return Problem(kind, error.status_code, str(error.detail), headers=headers)


def refusal(error: Exception) -> Problem:
    """Return the refusal that a long poll answers for an exception. A bug is logged and becomes a 500."""
    problem = as_problem(error)
    if problem is None:
        log.error("long poll failed", exc_info=error)
        problem = internal()
    return problem
