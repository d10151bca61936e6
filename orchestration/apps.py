from uuid import UUID

from django.apps import AppConfig


class OrchestrationConfig(AppConfig):
    name = "orchestration"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell the mailbox, which knows no sessions, which of their addresses somebody will ever read."""
        from mailbox import addresses
        from orchestration.models import Session

        def has_session(project_id: UUID, session_id: UUID) -> bool:
            return Session.objects.filter(pk=session_id, project=project_id).exists()

        addresses.reserve_for(has_session)
