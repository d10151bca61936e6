from django.apps import AppConfig
from django.db.backends.signals import connection_created

from core.db import locks


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Bound the lock waits of every new connection, and record each lockout of the login."""
        from axes.signals import user_locked_out

        from accounts.login import lockouts

        connection_created.connect(locks.bound_connection, dispatch_uid="lock waits")
        user_locked_out.connect(lockouts.record, dispatch_uid="lockouts")
