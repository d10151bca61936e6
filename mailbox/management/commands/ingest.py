"""`manage.py ingest`: take messages from RabbitMQ into mailboxes until it is stopped."""

from __future__ import annotations

import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mailbox.ingest.amqp import Ingest, queue_of

AMQP = ("amqp://", "amqps://")


class Command(BaseCommand):
    """One durable queue per project, `wardroom.ingest.<project>`. Any number of these may run."""

    help = "Take JSON messages from one RabbitMQ queue per project into mailboxes; quarantine what cannot be read."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the broker's URL and the projects."""
        parser.add_argument("--url", help="An amqp:// URL. Without it INGEST_URL, or the broker if that is a RabbitMQ.")
        parser.add_argument("--project", action="append", default=[], help="Only this project's queue; repeatable.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT. The current batch is finished first."""
        url = options["url"] or settings.INGEST_URL
        if url and not url.startswith(AMQP):
            raise CommandError("ingest reads from RabbitMQ: give --url amqp://..., or set INGEST_URL to one.")
        ingest = Ingest(url, frozenset(options["project"]))
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: ingest.stop())
        if url:
            self.stdout.write(f"taking messages from {queue_of('<project>').name}, for each project")
            self.stdout.flush()
            ingest.run()
        else:
            # A process manager starts every entry of the Procfile, and treats one that ends as one that crashed.
            self.stdout.write("no RabbitMQ to take messages from (INGEST_URL): idle until stopped")
            self.stdout.flush()
            ingest.stopping.wait()
        self.stdout.write(f"stopped after {ingest.taken} messages")
