from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "ledger"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Give `accounts`, a lower layer, the function that writes to the audit chain."""
        from accounts import audit_hook
        from ledger import unit_of_work

        audit_hook.record_with(unit_of_work)
