"""The Celery application. Tasks carry ids only; the rows are the truth (see docs, *One road*)."""

from celery import Celery

app = Celery("wardroom")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
