from django.apps import AppConfig
from django.db.backends.signals import connection_created

from accounts import locks


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Give every connection its bound before anything is asked on it."""
        connection_created.connect(locks.bound_connection, dispatch_uid="lock waits")
