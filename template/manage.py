#!/usr/bin/env python
"""Django's command-line utility for administrative tasks."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError


def main():
    """Run administrative tasks."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")
    except OperationalError as error:
        # Of a server that gave no answer there is no SQLSTATE. One sentence tells that to a
        # person; whatever else reads this gets all of it.
        answered = getattr(error.__cause__, "sqlstate", "") is not None
        if answered or not sys.stderr.isatty():
            raise
        sys.exit(f"manage.py: The database of DATABASE_URL does not answer: {error}")


if __name__ == "__main__":
    main()
