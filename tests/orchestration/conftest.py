"""Three people for every REST test: the owner, a stranger of another project, a child by its token."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import credentials, scopes
from accounts.models import CredentialKind, Project
from orchestration.models import Session
from orchestration.sessions import spawn
from tests import people

Caller = Callable[..., APIClient]


def bearer(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.fixture
def key(db: None) -> Caller:
    """A client with an API key: of a project, with scopes (every one but admin)."""

    def make(project: str = "default", only: Iterable[str] | None = None) -> APIClient:
        where, _ = Project.objects.get_or_create(slug=project)
        user = people.owner(f"of-{project}")
        wanted = [scope for scope in scopes.ALL if scope != "admin"] if only is None else only
        _, token = credentials.mint(kind=CredentialKind.API, project=where, user=user, scopes=wanted, name="k")
        return bearer(token)

    return make


@pytest.fixture
def owner(key: Caller) -> APIClient:
    return key()


@pytest.fixture
def stranger(key: Caller) -> APIClient:
    return key("elsewhere")


@pytest.fixture
def child_of() -> Callable[[Session], APIClient]:
    """A client with the token of a session's current attempt."""
    return lambda session: bearer(spawn.mint(session))


def problem(answer: Any) -> tuple[int, str]:
    """The status and stable type of a refusal."""
    return answer.status_code, answer.json()["type"]
