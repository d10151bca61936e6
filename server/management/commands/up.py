"""`manage.py up`: a whole Wardroom in the foreground."""

import io
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand

from server.data_folder import DataFolder, EmbeddedError
from server.up import Up


class Command(BaseCommand):
    """Run `server.up`, and print a refusal in one line."""

    help = (
        "Run web, worker, beat and, where the environment names none, a private broker and an SQLite database, "
        "all in one data folder (WARDROOM_DATA), until Ctrl-C."
    )
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        # A terminal without UTF-8 shows a letter as its number. It must not end the process.
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            Up(DataFolder.here()).run()
        except (EmbeddedError, ImproperlyConfigured) as refusal:
            sys.exit(f"wardroom: {refusal}")
