"""`manage.py spawn`: spawn a session from a shell on the server, like `POST sessions`."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, TextIO, cast
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.actors import Actor
from accounts.models import Project
from core.display.text import visible
from core.web.problems import Problem
from orchestration import tail
from orchestration.sessions import limits, spawn
from orchestration.sessions.spawn import SpawnOrder
from orchestration.states import Status

EPILOG = "Exit status with --follow: 0 completed, 1 error, 3 timeout, 4 cancelled, 5 skipped, 130 interrupted."


class Command(BaseCommand):
    help = "Spawn a session. With --follow, show its events until it is over."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = EPILOG
        parser.add_argument("assignment", nargs="?", help="the assignment as text; '-' reads it from standard input")
        parser.add_argument("--file", type=Path, help="read the assignment from a file")
        parser.add_argument("--role", default="", help="a role of this server, such as runbook")
        parser.add_argument("--command", help="the child's command line, instead of a role")
        parser.add_argument("--runner", help="process, external, or a runner of an installed package")
        parser.add_argument("--title", default="")
        parser.add_argument("--project", default="default", help="the project's slug")
        parser.add_argument("--parent", type=UUID)
        parser.add_argument("--model")
        parser.add_argument("--metadata", action="append", default=[], metavar="KEY=VALUE")
        parser.add_argument("--follow", action="store_true", help="show its events until it is over")

    def handle(self, **options: Any) -> None:
        for name, value in options.items():
            texts = (text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))
            if any("\ud800" <= sign <= "\udfff" for text in texts for sign in text):
                # It could not be stored as text.
                raise CommandError(f"{name} is not UTF-8.")
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        try:
            spawned = spawn.spawn(project, _order(options), Actor.system("manage.py spawn"))
        except Problem as problem:
            errors = [f"{error['field']}: {error['detail']}" for error in problem.extra.get("errors", [])]
            raise CommandError("\n".join(errors) or problem.detail) from problem
        self.stdout.write(f"session: {spawned.session.pk}")
        for each in limits.ignored(spawned.session.metadata):
            self.stderr.write(visible(f"warning: {each['field']}: {each['detail']}"))
        if spawned.child_token:
            self.stdout.write(f"child token: {spawned.child_token}\nsocket: {spawned.websocket_url}")
        if not options["follow"]:
            return
        out = cast(TextIO, self.stdout._out)
        screen = tail.Screen(out, live=out.isatty())
        screen.line(f"watch and answer at {settings.WARDROOM_URL}/admin/", "dim")
        try:
            ended = tail.follow(spawned.session.pk, screen)
        except KeyboardInterrupt:
            screen.line("No longer following; the session goes on.")
            sys.exit(130)
        shown = ended.result if ended.status == Status.COMPLETED else ended.error
        screen.line(f"{ended.status} in attempt {ended.attempt}", "good" if ended.result else "")
        if shown:
            screen.line(visible(shown, lines=True).rstrip())
        sys.exit(tail.EXITS[Status(ended.status)])


def _order(options: dict[str, Any]) -> SpawnOrder:
    try:
        command = tuple(shlex.split(options["command"])) if options["command"] else None
    except ValueError as error:
        raise CommandError(f"--command {options['command']!r}: {error}") from error
    metadata = {}
    for text in options["metadata"]:
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise CommandError(f"--metadata {text!r}: write KEY=VALUE.")
        metadata[key] = value
    path: Path | None = options["file"]
    assignment: str = options["assignment"] or ""
    if path is not None or assignment == "-":
        try:
            # Bytes: text mode would turn each lone carriage return into a line feed.
            raw = path.read_bytes() if path else sys.stdin.buffer.read()
            assignment = raw.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path or 'Standard input'} cannot be read: {error}") from error
        if "\0" in assignment:
            raise CommandError("The assignment contains a NUL character.")
    return SpawnOrder(
        assignment=assignment,
        role=options["role"],
        command=command,
        runner=options["runner"],
        title=options["title"],
        parent=options["parent"],
        model=options["model"],
        metadata=metadata,
    )
