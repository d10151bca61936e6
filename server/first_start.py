"""The first start creates an administrator, a key, and a runbook that waits for approval."""

import os
import secrets
from collections.abc import Callable

from django.conf import settings

from accounts import credentials, permission_audit, projects, scopes
from accounts.actors import Actor
from accounts.models import CredentialKind, User
from ledger import unit_of_work
from orchestration.sessions import spawn
from orchestration.sessions.spawn import SpawnOrder

NAME = "admin"
SELF = Actor.system("first start")
WELCOME = SpawnOrder(
    role="runbook",
    title="Welcome to Wardroom",
    assignment="""\
# Welcome. This first step needs nobody: its line begins with an exclamation mark.
!echo 'Hello. I am a child process of Wardroom, and I ran this by myself.'
# The second waits for a person. Approve it, edit it first, or deny it with a message.
echo 'A person has read this line, and let it run.'
# The third says when.
!date
""",
)


def is_due() -> bool:
    """Return True while this database has no administrator."""
    return not User.objects.filter(is_superuser=True).exists()


def greet(show: Callable[[str], None]) -> None:
    """Create the first administrator and key, and show them once.

    They are shown before the commit: a start killed in between shows new ones the next time. In the other order a kill
    would lock everybody out.
    """
    password = secrets.token_urlsafe(15)
    with unit_of_work.transaction():
        user = User.objects.create_superuser(username=NAME, email="", password=password)
        permission_audit.changed(SELF, user, permission_audit.NOTHING, permission_audit.of(user))
        project = projects.default()
        _, token = credentials.mint(
            kind=CredentialKind.API,
            project=project,
            scopes=scopes.ALL,
            user=user,
            name="first start",
            actor=SELF,
        )
        if wants_demo():
            spawn.spawn(project, WELCOME, Actor.of_user(user))
        for line in card(user.get_username(), password, token):
            show(line)


def card(name: str, password: str, token: str) -> list[str]:
    """Return the four lines, without a prefix, so that people can copy them and programs can parse them."""
    return [
        f"admin: {settings.WARDROOM_URL}/admin/",
        f"user: {name}",
        f"password: {password}",
        f"api key: {token}",
    ]


def wants_demo() -> bool:
    return os.environ.get("WARDROOM_DEMO", "1") != "0"
