"""`manage.py document_states`: write docs/states.md from the tables of arrows."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from config import diagrams


class Command(BaseCommand):
    help = "Write docs/states.md from the states.py of each app (with --print: show it)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add `--print`, which writes to standard output instead."""
        parser.add_argument("--print", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the page."""
        if options["print"]:
            self.stdout.write(diagrams.page(), ending="")
        else:
            (settings.BASE_DIR / "docs" / "states.md").write_text(diagrams.page())
