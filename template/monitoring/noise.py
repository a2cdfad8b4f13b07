"""What is not worth a report. Edit it: this is the only list."""

import logging
import threading
import time

logger = logging.getLogger("monitoring")

# Names as well as classes, so that a package that is not installed can be named.
IGNORED_ERRORS = [
    # Visitors who ask for what is not there, or not theirs: Django answers them itself.
    "django.http.response.Http404",
    "django.core.exceptions.PermissionDenied",
    "django.core.exceptions.SuspiciousOperation",
    "django.core.exceptions.DisallowedHost",
    "rest_framework.exceptions.Throttled",
    # Visitors who went away before the answer, or while they sent their request.
    BrokenPipeError,
    "django.http.request.UnreadablePostError",
    # Operators who stop a command.
    KeyboardInterrupt,
    SystemExit,
]

# How messages of errors begin whose class says too little.
IGNORED_MESSAGES = (
    # Uvicorn asks for it at each start, and goes on without it.
    "Django can only handle ASGI/HTTP connections, not lifespan",
)

# Events of one error, by type and place, that are sent in a minute. More say no more.
MAX_REPEATS = 3000

# Seconds in which the log says only once that Sentry cannot be reached.
SILENCE = 600


class RepeatLimit:
    """Drops what comes after the first `limit` equal errors of a minute, and what is in
    IGNORED_MESSAGES."""

    def __init__(self, limit=MAX_REPEATS, clock=time.monotonic):
        self.limit = limit
        self.clock = clock
        self.lock = threading.Lock()
        self.minute = None
        self.counts = {}

    def before_send(self, event, hint):
        if (last_exception(event).get("value") or "").startswith(IGNORED_MESSAGES):
            return None
        key = self.key(event)
        with self.lock:
            minute = self.clock() // 60
            if minute != self.minute:
                self.minute, self.counts = minute, {}
            self.counts[key] = self.counts.get(key, 0) + 1
            return event if self.counts[key] <= self.limit else None

    @staticmethod
    def key(event):
        exception = last_exception(event)
        frame = ((exception.get("stacktrace") or {}).get("frames") or [{}])[-1]
        place = frame.get("filename"), frame.get("lineno")
        message = (event.get("logentry") or {}).get("message")
        return exception.get("type"), place, message


def last_exception(event):
    return ((event.get("exception") or {}).get("values") or [{}])[-1]


class OnceInAWhile(logging.Filter):
    """Of the connection errors of the SDK, passes on one in `SILENCE` seconds.

    urllib3 warns of every attempt. This looks only at the thread that sends events; what
    the project itself does with urllib3 is not touched.
    """

    def __init__(self, clock=time.monotonic):
        super().__init__()
        self.clock = clock
        self.silent_until = 0.0

    def filter(self, record):
        if not record.threadName.startswith("sentry-sdk."):
            return True
        if self.clock() >= self.silent_until:
            self.silent_until = self.clock() + SILENCE
            logger.warning(
                "Sentry cannot be reached: %s. The site goes on without it; this is not "
                "repeated for %d minutes.",
                record.getMessage(),
                SILENCE // 60,
            )
        return False
