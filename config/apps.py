"""`config` is an installed app for its management commands and system checks."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
    label = "config"
    verbose_name = "Wardroom"

    def ready(self) -> None:
        from config import checks  # noqa: F401 the import registers them
