"""`manage.py createsuperuser`: Django's, with a row in the audit chain."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.contrib.auth.models import UserManager

from accounts import audit_hook, permission_audit
from accounts.actors import Actor
from accounts.models import User

BY = Actor.system("manage.py createsuperuser")


class Recorded(UserManager[User]):
    """Makes a superuser in the transaction that writes it down."""

    def create_superuser(self, *args: Any, **fields: Any) -> User:
        """The person, as stored."""
        with audit_hook.transaction():
            user = super().create_superuser(*args, **fields)
            permission_audit.changed(BY, user, permission_audit.NOTHING, permission_audit.of(user))
        return user


class Model:
    """The user model as the stock command uses it: what it asks takes time, and only its last line is a transaction."""

    def __init__(self) -> None:
        self._default_manager = Recorded()
        self._default_manager.model = User

    def __call__(self, **fields: Any) -> User:
        return User(**fields)

    def __getattr__(self, name: str) -> Any:
        return getattr(User, name)


class Command(createsuperuser.Command):
    """Edge: the stock questions, our manager."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.UserModel: Any = Model()
