"""The Celery application. Tasks carry ids only; the database is authoritative (see docs, *One road*)."""

import os
import sys

from celery import Celery

from config import start

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
start.without_foreign()
if "celery" in sys.argv[0]:
    # Here bad settings can still be refused in one line. Celery itself would show a traceback.
    start.load_settings()

app = Celery("wardroom")
# The current app is per thread. Without a default, every other thread would publish to a default broker.
app.set_default()
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

from server import liveness  # noqa: E402,F401  it listens for the start of a worker
