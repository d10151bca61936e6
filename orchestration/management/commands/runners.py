"""`manage.py runners`: host the runner plug-ins of installed packages until stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from orchestration.runner_host.host import Host, usable

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """Any number of these may run, on any number of hosts."""

    help = "Run the jobs of runner plug-ins (entry point wardroom.runners)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT. Does not return: a thread that a plug-in blocks must not hold up the end."""

        def say(text: str) -> None:
            self.stdout.write(text)
            self.stdout.flush()

        host = Host(usable(), say, stop_secs=settings.WARDROOM_DRAIN_SECS)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        running = loop.create_task(host.run())
        status = 0
        while not running.done():
            try:
                loop.run_until_complete(running)
            except SystemExit as error:
                if running.done():
                    raise
                # A task of a plug-in raised it. asyncio leaves the loop then, and the other jobs need it.
                log.error("a task of a runner called sys.exit(%s): ignored", error.code)
            except Exception:
                log.exception("the host of runners failed")
                status = 1
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
