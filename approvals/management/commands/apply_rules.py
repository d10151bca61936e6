"""`manage.py apply_rules FILE`: make the rules of a YAML file those of a project, in one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import projects
from accounts.actors import Actor
from accounts.models import Project
from approvals.rules import files
from core.display.text import visible


class Command(BaseCommand):
    """Rules are compared by name. Without --prune, rules that the file lacks stay."""

    help = "Apply the rules of a YAML file to a project, and print the changes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the YAML file: `rules:` and a list")
        parser.add_argument(
            "--project", default=projects.DEFAULT, help="the slug of the project (default: %(default)s)"
        )
        parser.add_argument("--dry-run", action="store_true", help="print the changes, and make none")
        parser.add_argument("--prune", action="store_true", help="delete the rules that the file lacks")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']}. Name one that exists with --project.")
        try:
            wanted = files.read(Path(options["file"]).read_text(encoding="utf-8"))
            if options["dry_run"]:
                found = files.plan(project.pk, wanted, prune=options["prune"])
            else:
                actor = Actor.system("manage.py apply_rules")
                found = files.apply(project.pk, wanted, actor, prune=options["prune"])
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']} cannot be read: {error}") from None
        except files.BadFile as error:
            listed = "\n".join(f"  {visible(each)}" for each in error.errors)
            raise CommandError(f"Nothing was changed. {options['file']} has errors:\n{listed}") from None
        for line in found.lines():
            self.stdout.write(visible(line))
        if options["dry_run"]:
            self.stdout.write("A dry run: nothing was changed.")
