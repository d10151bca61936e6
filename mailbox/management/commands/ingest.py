"""`manage.py ingest`: take messages from RabbitMQ into mailboxes, until told to stop."""

from __future__ import annotations

import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mailbox.ingest import Ingest, queue_of


class Command(BaseCommand):
    """One durable queue per project, `wardroom.ingest.<project>`. Any number of these may run."""

    help = "Take JSON messages from one RabbitMQ queue per project into mailboxes; quarantine what cannot be read."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where from, and for whom."""
        parser.add_argument("--url", help="An amqp:// URL. Without it the broker of BROKER_URL or CLOUDAMQP_URL.")
        parser.add_argument("--project", action="append", default=[], help="Only this project's queue; repeatable.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT; the batch in hand is finished first."""
        url = options["url"] or settings.BROKER_URL
        if not url.startswith(("amqp://", "amqps://")):
            raise CommandError("ingest reads from RabbitMQ: give --url amqp://..., or set BROKER_URL to one.")
        ingest = Ingest(url, frozenset(options["project"]))
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: ingest.stop())
        self.stdout.write(f"taking messages from {queue_of('<project>').name}")
        ingest.run()
        self.stdout.write(f"stopped after {ingest.taken} messages")
