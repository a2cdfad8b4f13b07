"""The one place everything passes on its way to Sentry."""

import json
import logging
import time

from sentry_sdk import new_scope
from sentry_sdk.envelope import Envelope, Item, PayloadRef
from sentry_sdk.transport import HttpTransport
from sentry_sdk.utils import json_dumps

from .rules import Rules

logger = logging.getLogger("monitoring")

# A stop goes on waiting while in so many seconds so many envelopes leave.
PATIENCE = 1.5
PROGRESS = 50

ENVELOPE_HEADERS = {"event_id", "sent_at"}
ITEM_HEADERS = {"content_type", "item_count", "platform"}
TRACE_HEADERS = {"trace_id", "sample_rate", "sample_rand", "sampled"}


class Redaction:
    """Makes the envelope that may leave out of the one the SDK made."""

    def __init__(self, config, redactor):
        self.config = config
        self.rules = Rules(redactor, self.attempt, {config.release, config.environment})
        self.announced = set()

    def envelope(self, envelope, on_drop):
        """Return a new envelope.

        on_drop: called with each item that stays behind: those of a kind that has no
        rule, and those whose rule failed.
        """
        headers = self.attempt("header", self.headers, envelope.headers)
        redacted = Envelope(headers=headers or {})
        for item in envelope.items:
            kept = self.attempt(item.type, self.item, item)
            if headers is None or kept is None:
                on_drop(item)
            else:
                redacted.add_item(kept)
        return redacted

    def attempt(self, kind, rule, value):
        """Return what `rule` makes of `value`, or None if it fails."""
        try:
            return rule(value)
        except Exception as error:
            # Not the message: it may quote what could not be redacted. And once: what
            # is logged is an event itself, and would fail alike, without an end.
            failure = (kind, type(error).__name__)
            if failure not in self.announced:
                self.announced.add(failure)
                logger.error("Dropped a Sentry %s: %s", *failure)
            return None

    def item(self, item):
        rule = self.rules.by_type.get(item.type)
        if rule is None:
            return None
        payload = item.payload.json
        if payload is None:
            payload = json.loads(item.payload.get_bytes())
        headers = {key: item.headers[key] for key in ITEM_HEADERS & item.headers.keys()}
        # Bytes, since a queue of them takes a third less memory than one of objects.
        payload = PayloadRef(bytes=json_dumps(rule(payload)))
        return Item(payload=payload, type=item.type, headers=headers)

    def headers(self, headers):
        kept = {key: headers[key] for key in ENVELOPE_HEADERS & headers.keys()}
        if trace := headers.get("trace"):
            # A client can choose some of these in its `baggage` header: what is not an
            # id or a number comes from us.
            kept["trace"] = {
                key: str(trace[key])
                for key in TRACE_HEADERS & trace.keys()
                if is_number_or_id(str(trace[key]))
            } | {
                "public_key": self.config.public_key,
                "environment": self.config.environment,
                "release": self.config.release,
            }
        return kept


def is_number_or_id(text):
    return len(text) <= 36 and (
        text in ("true", "false") or not set(text.lower()) - set("0123456789abcdef.-")
    )


def redacting_transport(config, redactor):
    """Return a transport class for `sentry_sdk.init(transport=...)`."""
    redaction = Redaction(config, redactor)

    class RedactingTransport(HttpTransport):
        # Seconds for one attempt; after that, a Sentry that is back gets the next event.
        TIMEOUT = 10

        def flush(self, timeout, callback=None):
            """Wait up to `timeout` seconds, but not for a Sentry that takes next to
            nothing: a process that is stopped calls this."""
            deadline = time.monotonic() + timeout
            queue = self._worker._queue
            while (left := deadline - time.monotonic()) > 0:
                waiting = queue.unfinished_tasks
                super().flush(min(left, PATIENCE), callback)
                if waiting - queue.unfinished_tasks < PROGRESS:
                    break

        def capture_envelope(self, envelope):
            redacted = redaction.envelope(
                envelope,
                lambda item: self.record_lost_event("event_processor", item=item),
            )
            if redacted.items:
                self.enqueue(redacted)

        def enqueue(self, envelope):
            if self._worker.is_alive:
                super().capture_envelope(envelope)
                return
            # This starts the thread that sends. It would take the trace that is going on
            # here for its own, and add its requests to Sentry to it.
            with new_scope() as scope:
                scope.span = None
                super().capture_envelope(envelope)

    return RedactingTransport
