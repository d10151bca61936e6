"""The Celery application. Tasks carry ids only; the rows are the truth (see docs, *One road*)."""

import os
import sys

from celery import Celery

from config import start

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
start.without_foreign()
if "celery" in sys.argv[0]:
    # Here they can still be refused in one line; celery itself shows a traceback.
    start.load_settings()

app = Celery("wardroom")
# The current app is one of a thread's own; without a default, every other thread would publish to a stranger's broker.
app.set_default()
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

from server import liveness  # noqa: E402,F401  it listens for the start of a worker
