"""Bearer tokens for DRF, and the same check for long polls. Cookies never authenticate REST."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from starlette.requests import Request as StarletteRequest

from accounts import bulk_authentication, credentials
from accounts.models import Credential
from core.concurrency.threadpool import run_in_threadpool
from core.web import callers, problems


class BearerAuthentication(BaseAuthentication):
    """Sets `request.auth` to the live `Credential` and `request.user` to its owner.

    The owner is None for a child's token.
    """

    def authenticate(self, request: Request) -> tuple[Any, Credential]:
        """Return the owner and the live credential. Raises 401 for any other token."""
        user, credential = _live(request.headers.get("Authorization", ""))
        callers.prove(request._request, f"key:{credential.public_id}")
        return user, credential

    def authenticate_header(self, request: Request) -> str:
        """Return the scheme. It makes DRF answer 401 and not 403."""
        return "Bearer"


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the bearer scheme in the OpenAPI document."""

    target_class = "accounts.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the scheme in OpenAPI's form."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "wr_key_<id>_<secret>"}


async def of_asgi_request(request: StarletteRequest) -> Credential:
    """Return the live credential of a long poll. Raises 401."""
    await refuse_forged(request)
    _, credential = await run_in_threadpool(_live, request.headers.get("authorization", ""))
    return credential


async def refuse_forged(request: StarletteRequest) -> None:
    """Raise 401 for a token that was never minted. A token that has ended passes.

    These calls take no turn, and each takes a thread for its own check. A flood of forged tokens would take every
    thread, so all of them share one query first.
    """
    token = credentials.bearer(request.headers.get("authorization", ""))
    if (await bulk_authentication.recognise(token)).state == "unknown":
        raise problems.unauthenticated()


def _live(header: str) -> tuple[Any, Credential]:
    token = credentials.bearer(header)
    credential = bulk_authentication.check_all([token])[token]
    if credential is None:
        raise problems.unauthenticated()
    return credential.user, credential
