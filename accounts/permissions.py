"""The one permission class: scopes for API keys, an explicit list of methods for a child's token."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import effective_scopes
from accounts.models import Credential, CredentialKind
from core.web import problems


class Scoped(BasePermission):
    """Denies by default: a method without a scope in its view is open to nobody."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Allow the call, or raise a 403 that names the missing scope or permission."""
        # HEAD is a GET without its body. OPTIONS only names the methods.
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS":
            return True
        if method not in (*getattr(view, "scopes", {}), *getattr(view, "child_may", ())):
            raise MethodNotAllowed(str(request.method))
        credential: Any = request.auth
        allow(
            credential,
            getattr(view, "scopes", {}).get(method),
            child=method in getattr(view, "child_may", ()),
            owner_needs=getattr(view, "owner_needs", {}).get(method),
        )
        return True


def allow(credential: Credential, scope: str | None, *, child: bool = False, owner_needs: str | None = None) -> None:
    """Raise unless the credential has the scope, or is a child's where `child` is set, and its owner the permission."""
    if credential.kind == CredentialKind.CHILD:
        if not child:
            raise problems.forbidden("A child's token may not do that.")
    elif scope is None or (scope not in credential.scopes and "admin" not in credential.scopes):
        raise problems.forbidden(f"This key lacks the scope {scope}.")
    elif owner_needs is not None:
        owner_must_hold(credential, owner_needs)


def owner_must_hold(credential: Credential, permission: str) -> None:
    """Raise unless the owner of this key holds the permission now. A child's token is checked elsewhere."""
    if credential.kind != CredentialKind.CHILD and not effective_scopes.holds_now(credential, permission):
        raise problems.forbidden(f"The owner of this key lacks the permission {permission}.")


ScopeMap = Mapping[str, str]
Methods = Collection[str]
