"""Writes security events to `logs/security.log`, one line each.

They come from the logger `security` (logins and logouts: accounts/signals.py), from
`django.security` (CSRF failures, suspicious operations, disallowed hosts) and from
`django.request` (permission denied).
"""

import json
import logging
import sys
from pathlib import Path

FIELD_LENGTH = 256  # characters: no visitor can fill the disk with one request


def printable(text):
    """Escape what could forge a line or drive a terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def quoted(value):
    return printable(json.dumps(str(value)[:FIELD_LENGTH], ensure_ascii=False))


class SecurityEventFilter(logging.Filter):
    """Of what `django.request` logs, passes on the responses with status 403 only."""

    def filter(self, record):
        return record.name != "django.request" or record.status_code == 403


class SecurityFormatter(logging.Formatter):
    """Formats a record as time, level, logger, event and `name="value"` pairs."""

    default_time_format = "%Y-%m-%dT%H:%M:%S%z"
    default_msec_format = None

    def format(self, record):
        fields = {"user": getattr(record, "username", None)}
        if request := getattr(record, "request", None):
            user = getattr(request, "_cached_user", None)
            fields = {
                "user": fields["user"] or (user.get_username() if user else None),
                "ip": request.META.get("REMOTE_ADDR"),
                "forwarded_for": request.META.get("HTTP_X_FORWARDED_FOR"),
                "method": request.method,
                "path": request.path,
                "request_id": getattr(request, "id", None),
            }
        event = printable(record.getMessage()[: 2 * FIELD_LENGTH])
        line = f"{self.formatTime(record)} {record.levelname} {record.name}: {event}"
        pairs = (f" {name}={quoted(value)}" for name, value in fields.items() if value)
        return line + "".join(pairs)


class SecurityFileHandler(logging.Handler):
    """Appends each record to `path` in one write, which is safe with several processes
    and with logrotate. While that fails, records go to the console, announced once."""

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)
        self.failing = False

    def emit(self, record):
        line = self.format(record)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                file.write(f"{line}\n".encode())
            self.failing = False
        except OSError as error:
            if not self.failing:
                self.failing = True
                logging.getLogger(__name__).error(
                    "Security events go to the console, since %s cannot be written: %s",
                    self.path,
                    error.strerror,
                )
            sys.stderr.write(f"{line}\n")
