"""Settings, URLs, servers and the supervisor: the top of the house. Nobody imports it."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
