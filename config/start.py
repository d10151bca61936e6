"""How every process of Wardroom begins: with its own settings, or with one line that says what is wrong."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured

# Celery and uvicorn read these beside what they are told; an exported one would send tasks to another broker.
FOREIGN = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND")


def load_settings() -> None:
    """Load Wardroom's settings, whatever DJANGO_SETTINGS_MODULE was exported. Exits 1 with one line on a refusal."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    from django.conf import settings

    try:
        _ = settings.INSTALLED_APPS
    except ImproperlyConfigured as refusal:
        sys.exit(f"wardroom: {refusal}")


def without_foreign() -> None:
    """Take out of the environment what would override our settings unseen."""
    for name in FOREIGN:
        os.environ.pop(name, None)
