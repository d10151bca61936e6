"""Wardroom's settings, with what the peer of benchmarks.rest needs and without what would slow it."""

from config.settings import *  # noqa: F403
from config.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework.authtoken"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]  # It says how long an answer is.
ROOT_URLCONF = "benchmarks._peer"
DATABASES["default"]["OPTIONS"].pop("pool", None)
DATABASES["default"]["CONN_MAX_AGE"] = None
