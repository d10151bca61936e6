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
from orchestration.models import Session
from orchestration.sessions import spawn
from orchestration.sessions.spawn import SpawnOrder
from orchestration.states import Runner, Status

EPILOG = "Exit status with --follow: 0 completed, 1 error, 3 timeout, 4 cancelled, 5 skipped, 130 interrupted."


class Command(BaseCommand):
    help = "Spawn a session. With --follow, show its events until it is over."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = EPILOG
        parser.add_argument("assignment", nargs="?", help="the assignment as text; '-' reads it from standard input")
        parser.add_argument("--file", type=Path, help="read the assignment from a file")
        parser.add_argument("--role", default="", help="a role of this server, such as runbook")
        parser.add_argument("--command", help="the child's command line, instead of a role")
        parser.add_argument("--runner", choices=Runner.values)
        parser.add_argument("--title", default="")
        parser.add_argument("--project", default="default", help="the project's slug")
        parser.add_argument("--parent", type=UUID)
        parser.add_argument("--model")
        parser.add_argument("--metadata", action="append", default=[], metavar="KEY=VALUE")
        parser.add_argument("--follow", action="store_true", help="show its events until it is over")

    def handle(self, **options: Any) -> None:
        session = self._spawn(options)
        if options["follow"]:
            self._follow(session)

    def _spawn(self, options: dict[str, Any]) -> Session:
        _refuse_raw_bytes(options)
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        try:
            spawned = spawn.spawn(project, _order(options), Actor.system("manage.py spawn"))
        except Problem as problem:
            errors = [f"{error['field']}: {error['detail']}" for error in problem.extra.get("errors", [])]
            raise CommandError("\n".join(errors) or problem.detail) from problem
        self.stdout.write(f"session: {spawned.session.pk}")
        if spawned.child_token:
            self.stdout.write(f"child token: {spawned.child_token}\nsocket: {spawned.websocket_url}")
        return spawned.session

    def _follow(self, session: Session) -> None:
        out = cast(TextIO, self.stdout._out)
        screen = tail.Screen(out, live=out.isatty())
        screen.line(f"watch and answer at {settings.WARDROOM_URL}/admin/", "dim")
        try:
            ended = tail.follow(session.pk, screen)
        except KeyboardInterrupt:
            screen.line("No longer following; the session goes on.")
            sys.exit(130)
        text = ended.result if ended.status == Status.COMPLETED else ended.error
        screen.line(f"{ended.status} in attempt {ended.attempt}", "good" if ended.result else "")
        if text:
            screen.line(visible(text, lines=True).rstrip())
        sys.exit(tail.EXITS[Status(ended.status)])


def _order(options: dict[str, Any]) -> SpawnOrder:
    return SpawnOrder(
        assignment=_assignment(options),
        role=options["role"],
        command=_argv(options["command"]) if options["command"] else None,
        runner=options["runner"],
        title=options["title"],
        parent=options["parent"],
        model=options["model"],
        metadata=dict(_pair(text) for text in options["metadata"]),
    )


def _assignment(options: dict[str, Any]) -> str:
    if options["file"]:
        return _text(options["file"])
    return _stdin() if options["assignment"] == "-" else options["assignment"] or ""


def _stdin() -> str:
    try:
        return _checked(sys.stdin.buffer.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise CommandError(f"Standard input is not UTF-8: {error}") from error


def _refuse_raw_bytes(options: dict[str, Any]) -> None:
    """Refuse arguments that are not UTF-8, because they cannot be stored as text."""
    for name, value in options.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
                raise CommandError(f"{name} is not UTF-8.")


def _argv(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        raise CommandError(f"--command {line!r}: {error}") from error


def _checked(text: str) -> str:
    if "\0" in text:
        raise CommandError("The assignment contains a NUL character.")
    return text


def _text(path: Path) -> str:
    """Return the file's text unchanged. Text mode would turn each lone carriage return into a line feed."""
    try:
        return _checked(path.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise CommandError(f"--metadata {text!r}: write KEY=VALUE.")
    return key, value
