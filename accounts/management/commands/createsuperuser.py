"""`manage.py createsuperuser`: Django's command, with an audit row."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.contrib.auth.models import UserManager

from accounts import audit_hook, permission_audit
from accounts.actors import Actor
from accounts.models import User

BY = Actor.system("manage.py createsuperuser")


class Recorded(UserManager[User]):
    """Creates a superuser and its audit row in one transaction."""

    def create_superuser(self, *args: Any, **fields: Any) -> User:
        """Return the stored person."""
        with audit_hook.transaction():
            user = super().create_superuser(*args, **fields)
            permission_audit.changed(BY, user, permission_audit.NOTHING, permission_audit.of(user))
        return user


class Model:
    """The user model for the stock command. Its questions take time, so only the final creation is a transaction."""

    def __init__(self) -> None:
        self._default_manager = Recorded()
        self._default_manager.model = User

    def __call__(self, **fields: Any) -> User:
        return User(**fields)

    def __getattr__(self, name: str) -> Any:
        return getattr(User, name)


class Command(createsuperuser.Command):
    """The stock questions with our manager."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.UserModel: Any = Model()
