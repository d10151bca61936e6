"""`manage.py verify_audit`: verify every project's audit chain."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Project
from ledger.audit import chain


class Command(BaseCommand):
    help = "Verify the audit chain of every project; exit status 1 names the first broken row."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per project."""
        broken = 0
        for project in Project.objects.order_by("slug"):
            found = chain.verify(project.pk)
            broken += found is not None
            self.stdout.write(f"{project.slug}: " + (f"row {found.number}: {found.why}" if found else "holds"))
        if broken:
            raise CommandError(f"{broken} chain(s) do not hold.")
