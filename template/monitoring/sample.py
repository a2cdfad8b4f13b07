"""Makes sample events with the project's own options, and shows what redaction does."""

import secrets

import sentry_sdk

from .redaction.transport import Redaction
from .sdk import client_options


def envelopes(config, redactor):
    """Yield (kind, envelope as collected, envelope as it would be sent).

    The kinds are `error`, `transaction` and `log`.
    """
    collected = []

    class Collector(sentry_sdk.Transport):
        def capture_envelope(self, envelope):
            collected.append(envelope)

    options = client_options(config, redactor) | {"transport": Collector}
    # Every sample counts, whatever the rates and limits are.
    options |= {"traces_sampler": lambda context: 1.0, "before_send": None}
    options.pop("profiles_sample_rate", None)
    redaction = Redaction(config, redactor)
    for kind, make in SAMPLES.items():
        collected.clear()
        client = sentry_sdk.Client(**options)
        with sentry_sdk.isolation_scope() as scope:
            scope.set_client(client)
            make()
            client.flush()
        for envelope in collected:
            yield (
                kind,
                envelope,
                redaction.envelope(envelope, on_drop=lambda item: None),
            )


def error():
    sentry_sdk.set_tag("sentry_check", "error")
    sentry_sdk.set_extra("api_key", secrets.token_hex(16))
    sentry_sdk.set_user({"id": 1, "username": "alice", "email": "alice@example.com"})
    token = secrets.token_hex(32)
    try:
        raise RuntimeError(
            f"This is a test error of sentry_check; not to be sent: password='{token[:12]}', "
            f"Bearer {token}, alice@example.com"
        )
    except RuntimeError:
        sentry_sdk.capture_exception()


def transaction():
    with sentry_sdk.start_transaction(op="task", name="sentry_check"):
        with sentry_sdk.start_span(
            op="db", name="SELECT * FROM t WHERE email = 'a@b.c'"
        ):
            pass


def log():
    sentry_sdk.logger.warning("This is a test log message of sentry_check.")


SAMPLES = {"error": error, "transaction": transaction, "log": log}


def differences(collected, sent, path=""):
    """Yield (path, value collected, value sent or None) where two JSON values differ."""
    if isinstance(collected, dict) and isinstance(sent, dict):
        for key, value in collected.items():
            yield from differences(value, sent.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(collected, list) and isinstance(sent, list):
        for index, value in enumerate(collected):
            other = sent[index] if index < len(sent) else None
            yield from differences(value, other, f"{path}[{index}]")
    elif collected != sent and collected not in ("", [], {}):
        yield path, collected, sent
