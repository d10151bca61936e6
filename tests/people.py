"""People for tests about other subjects than rights."""

from accounts.models import User


def owner(name: str = "owner") -> User:
    """Somebody who may do everything everywhere: a key of theirs is worth all of its scopes."""
    return User.objects.get_or_create(username=name, defaults={"is_superuser": True, "is_staff": True})[0]
