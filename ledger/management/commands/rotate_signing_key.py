"""`manage.py rotate_signing_key`: sign receipts with a new key from now on."""

from typing import Any

from django.core.management.base import BaseCommand

from ledger.audit import signing


class Command(BaseCommand):
    help = "Sign receipts with a new key from now on. The old key stays published, so old receipts can be verified."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the id of the new key."""
        self.stdout.write(f"receipts are signed with {signing.rotate()} from now on")
