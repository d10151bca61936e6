"""People for tests about other subjects than rights."""

from accounts.models import User


def owner(name: str = "owner") -> User:
    """Return a person with every right, so that their keys have all of their scopes."""
    return User.objects.get_or_create(username=name, defaults={"is_superuser": True, "is_staff": True})[0]
