from collections.abc import Iterable
from uuid import UUID

from django.apps import AppConfig
from django.db.models import Case, Exists, F, OuterRef, Subquery, When


class OrchestrationConfig(AppConfig):
    name = "orchestration"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register callbacks in the apps below, which must not import orchestration.

        The mailbox asks whether an address belongs to a session. Approvals ask whether a child is connected, and for
        the title and the facts of its session.
        """
        from approvals import askers, selectors
        from mailbox import addresses
        from orchestration import asker_facts, presence
        from orchestration.models import Attempt, Session

        named = Case(When(title="", then=F("role")), default=F("title"))

        def has_session(project_id: UUID, session_id: UUID) -> bool:
            return Session.objects.filter(pk=session_id, project=project_id).exists()

        def is_connected() -> Exists:
            asking = Attempt.objects.filter(session=OuterRef("session"), number=OuterRef("attempt"))
            return Exists(asking.filter(presence.is_live()))

        def session_name() -> Subquery:
            return Subquery(Session.objects.filter(pk=OuterRef("session")).values_list(named)[:1])

        def names_of(session_ids: Iterable[UUID]) -> dict[UUID, str]:
            return dict(Session.objects.filter(pk__in=session_ids).values_list("pk", named))

        addresses.reserve_for(has_session)
        selectors.count_connected(is_connected)
        selectors.name_sessions(session_name, names_of)
        askers.describe_by(asker_facts.of)
