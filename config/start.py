"""Start every process of Wardroom with its own settings, or with a one-line error."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured

# Celery and uvicorn read these in addition to their options. An exported one would send tasks to another broker.
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
    """Remove variables that would silently override our settings."""
    for name in FOREIGN:
        os.environ.pop(name, None)
