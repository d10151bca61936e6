"""`manage.py export_maildir`: write one of our mailboxes as the reference system keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import projects
from accounts.models import Project
from core.display.text import visible
from mailbox.ingest import maildir_export


class Command(BaseCommand):
    """Export a Maildir. It can be run again: a message that is there already is not written twice."""

    help = "Write the unread and the quarantined messages of a mailbox as a Maildir (new/, cur/, corrupt/)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the mailbox, the folder and the project."""
        parser.add_argument("address", help="The mailbox to export.")
        parser.add_argument("folder", type=Path, help="It is created when it is missing.")
        parser.add_argument("--project", default=projects.DEFAULT)

    def handle(self, *args: Any, **options: Any) -> None:
        """Export everything, and report the numbers."""
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        folder: Path = options["folder"].resolve()
        try:
            tally = maildir_export.export_folder(project.pk, options["address"], folder)
        except LookupError as missing:
            raise CommandError(str(missing.args[0])) from missing
        except OSError as error:
            raise CommandError(f"{visible(str(folder))}: {error.strerror or error}") from error
        self.stdout.write(
            f"{tally.new} new, {tally.cur} claimed, {tally.corrupt} quarantined, {tally.there} were there already"
        )
        if tally.own:
            self.stdout.write(f"{tally.own} of Wardroom's own messages left out: no other system reads them")
