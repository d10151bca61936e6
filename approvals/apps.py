from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "approvals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell people by the deliveries of the ledger."""
        from approvals.notify import follow
        from approvals.notify import senders as ours
        from ledger.deliveries import senders

        senders.register("mail", ours.MAIL)
        senders.register("chat", ours.CHAT)
        senders.followers.append(senders.Follower("people", follow.follow, follow.is_wanted))
