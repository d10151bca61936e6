"""`manage.py import_maildir`: import the mailbox of the reference system into one of ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError

from accounts import projects
from accounts.models import Project
from core.display.text import visible
from core.web.problems import Problem
from mailbox.ingest import maildir

WIDTH = 40
#: The number of left-out files that are listed.
MOST_NAMED = 100


class Command(BaseCommand):
    """Import a Maildir. It can be run again: a message that is there already is not imported twice."""

    help = "Deliver the messages of a Maildir (new/, cur/, corrupt/) in their order, with their ids."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the folder, the mailbox and the project."""
        parser.add_argument("folder", type=Path)
        parser.add_argument("--address", help="The mailbox to fill. Without it the folder's own name.")
        parser.add_argument("--project", default=projects.DEFAULT)

    def handle(self, *args: Any, **options: Any) -> None:
        """Import everything with a progress line, and report the result. Exit with 1 if any file was left out."""
        folder: Path = options["folder"].resolve()
        if not any(os.path.isdir(folder / part) for part in ("new", "cur", "corrupt")):
            raise CommandError(f"{visible(str(folder))} is no Maildir: it has neither new/ nor cur/ nor corrupt/.")
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")

        def progress(done: int, of: int) -> None:
            filled = WIDTH * done // of if of else WIDTH
            bar = "#" * filled + "." * (WIDTH - filled)
            if self.stderr.isatty():
                self.stderr.write(f"\r[{bar}] {done}/{of}", ending="\n" if done == of else "")

        try:
            tally = maildir.import_folder(project.pk, options["address"] or folder.name, folder, progress=progress)
        except Problem as refusal:
            raise CommandError(f"{refusal.detail} Name another with --address.") from refusal
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"The database is away. Run this again: nothing comes twice. ({error})") from error
        self.stdout.write(
            f"{tally.delivered} delivered, {tally.duplicates} were there already, "
            f"{tally.quarantined} unreadable (see the quarantine)"
        )
        if tally.left_out:
            for each in tally.left_out[:MOST_NAMED]:
                self.stderr.write(f"left out: {visible(each.name)}: {visible(each.reason)}")
            more = len(tally.left_out) - MOST_NAMED
            if more > 0:
                self.stderr.write(f"left out: {more} more")
            where = f"still in {visible(str(folder))}"
            raise CommandError(f"{len(tally.left_out)} left out, {where}: mend or move them, and run this again.")
