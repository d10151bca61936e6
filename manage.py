#!/usr/bin/env python
"""Django's command line, for Wardroom."""

import sys


def main() -> None:
    """Run one management command with Wardroom's settings."""
    from config import start
    from server import data_folder

    # By hand, beside a running `manage.py up`: find what it runs on. Never for the Procfile's servers.
    data_folder.load()
    start.load_settings()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
