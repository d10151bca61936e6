from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "ledger"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Give `accounts`, a lower layer, the function that writes to the audit chain. Register webhooks."""
        from accounts import audit_hook
        from ledger import unit_of_work
        from ledger.deliveries import senders
        from ledger.webhooks import follow, sender

        audit_hook.record_with(unit_of_work)
        senders.register(sender.KIND, sender.SENDER)
        senders.followers.append(senders.Follower("webhooks", follow.follow, follow.is_wanted))
