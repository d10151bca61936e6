"""`manage.py create_api_key`: mint an API key and show it once."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import credentials, effective_scopes, projects, scopes
from accounts.actors import Actor
from accounts.models import CredentialKind, Project, User
from core.db import clock

MOST_DAYS = 3650


class Command(BaseCommand):
    """Find the user and the project, mint the key, print it."""

    help = "Mint an API key for a user in a project, and print it; it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", default="admin", help="the owner of the key (default: %(default)s)")
        parser.add_argument("--project", default=projects.DEFAULT, help="the project of the key (default: %(default)s)")
        parser.add_argument("--name", default="made by hand", help="the name in the list of keys")
        parser.add_argument("--days", type=int, default=0, help="its lifetime in days (default: no limit)")
        parser.add_argument(
            "--scope",
            action="append",
            choices=scopes.ALL,
            metavar="SCOPE",
            help=f"a scope, repeatable (default: all that its user may grant of {', '.join(scopes.ALL)})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = User.objects.get(username=options["user"], is_active=True)
            project = Project.objects.get(slug=options["project"])
        except (User.DoesNotExist, Project.DoesNotExist) as missing:
            raise CommandError(f"{missing} Name one that exists with --user or --project.") from missing
        grantable = scopes.grantable(user)
        beyond = sorted(set(options["scope"] or ()) - set(grantable))
        if not projects.visible_to(user).filter(pk=project.pk).exists():
            raise CommandError(f"{user} does not see the project {project}: put them in a group that it names.")
        if effective_scopes.is_off_staff(user):
            raise CommandError(f"{user} is a superuser who is not on the staff: their key would not work.")
        if beyond:
            lacking = "; ".join(scopes.lacking(user, scope) for scope in beyond)
            raise CommandError(f"{user} may not grant scopes without the permissions: {lacking}.")
        if not grantable:
            raise CommandError(f"{user} holds no permission behind a scope: their key would not work.")
        if options["days"] < 0:
            raise CommandError("--days counts from now on; leave it out for a key that does not expire.")
        if options["days"] > MOST_DAYS:
            raise CommandError(f"--days is at most {MOST_DAYS}; leave it out for a key that does not expire.")
        expires_at = clock.read_database_clock() + timedelta(days=options["days"]) if options["days"] else None
        _, token = credentials.mint(
            kind=CredentialKind.API,
            project=project,
            scopes=options["scope"] or grantable,
            user=user,
            name=options["name"],
            expires_at=expires_at,
            actor=Actor.system("manage.py create_api_key"),
        )
        self.stdout.write(f"api key: {token}")
