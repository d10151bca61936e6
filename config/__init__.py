"""Settings, URLs, ASGI, Celery and checks: the top layer. No other package imports it."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
