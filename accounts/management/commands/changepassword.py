"""`manage.py changepassword`: Django's command, with an audit row."""

import getpass
from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from accounts import audit_hook, permission_audit
from accounts.actors import Actor
from accounts.models import User

BY = Actor.system("manage.py changepassword")
TRIES = 3


class Command(changepassword.Command):
    """Ask first, because no lock may be held while a person types. Then set the password and record it."""

    def handle(self, *args: Any, **options: Any) -> str:
        name = options["username"] or getpass.getuser()
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user {name!r}.")
        self.stdout.write(f"Changing password for user '{user}'")
        for _ in range(TRIES):
            password = _typed("Password: ")
            if password != _typed("Password (again): "):
                self.stdout.write("Passwords do not match. Please try again.")
                continue
            try:
                validate_password(password, user)
                break
            except ValidationError as error:
                self.stderr.write("\n".join(error.messages))
        else:
            raise CommandError(f"Aborting password change for user '{user}' after {TRIES} attempts")
        with audit_hook.transaction():
            user.set_password(password)
            user.save(update_fields=["password"])
            permission_audit.password_set(BY, user)
        return f"Password changed successfully for user '{user}'"


def _typed(prompt: str) -> str:
    if password := getpass.getpass(prompt):
        return password
    raise CommandError("aborted")
