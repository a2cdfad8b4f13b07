"""The one call of `sentry_sdk.init`. Nothing else in the project calls it."""

import logging
import os
import warnings

import sentry_sdk
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.integrations.modules import ModulesIntegration
from sentry_sdk.scope import add_global_event_processor

from .noise import IGNORED_ERRORS, OnceInAWhile, RepeatLimit
from .redaction.patterns import MAX_LENGTH, OVERLAP
from .redaction.rules import ATTRIBUTES
from .redaction.transport import redacting_transport
from .sampling import make_traces_sampler
from .tracing import spared

# Collect little: what is not collected cannot leak. A category that is left out here
# would be collected, so every one is stated, here or where the policy decides.
NOTHING = {
    "user_info": False,
    "cookies": {"mode": "off"},
    "http_headers": {"request": {"mode": "off"}},  # SentryContextMiddleware adds some.
    "http_bodies": [],
    "graphql": {"document": False, "variables": False},
    "gen_ai": {"inputs": False, "outputs": False},
    "database_query_data": False,
    "queues": False,
    "stack_frame_variables": False,
    "frame_context_lines": 0,  # The redaction adds the lines of code.
}

# Without the lists of its packages and integrations.
SDK = {"name": "sentry.python.django", "version": sentry_sdk.VERSION}

# Security events have their own file, logs/security.log.
PRIVATE_LOGGERS = ("security", "django.security", "django.security.*")


def init(config, redactor):
    """Start the SDK. Raises what the SDK raises; no network, no thread."""
    # It would print every envelope as it was before the redaction.
    os.environ.pop("SENTRY_PRINT_ENVELOPES", None)
    for name in PRIVATE_LOGGERS:
        ignore_logger(name)
    logging.getLogger("urllib3.connectionpool").addFilter(OnceInAWhile())
    with warnings.catch_warnings(), spared():
        warnings.filterwarnings("ignore", "Transaction-based profiling is deprecated")
        sentry_sdk.init(**client_options(config, redactor))
    add_global_event_processor(drop_early)
    if not sentry_sdk.get_client().options["debug"]:
        # What it says of each trace would be made, and then not shown.
        logging.getLogger("sentry_sdk.errors").setLevel(logging.CRITICAL)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew_transport)


def renew_transport():
    """Give a forked process a transport of its own, with what the SDK leaves shared.

    It would write into the connection of its parent, and send its queue once more.
    """
    client = sentry_sdk.get_client()
    if client.transport:
        client.transport = type(client.transport)(client.options)
        if client.monitor:
            client.monitor.transport = client.transport


def client_options(config, redactor):
    """Return the options of `sentry_sdk.init`, each with its reason."""
    options = {
        "dsn": config.dsn,
        "environment": config.environment,
        "release": config.release,
        "transport": redacting_transport(config, redactor),
        # Privacy.
        "data_collection": NOTHING
        | {
            "url_query_params": {
                "mode": "allowlist",
                "terms": sorted(config.policy.allowed_query_params),
            },
        },
        "max_request_body_size": "never",
        "server_name": "",
        "before_breadcrumb": template_of_log_message,
        # Other services learn nothing of this one's traces, and none, nor a visitor,
        # can join them or force them.
        "trace_propagation_targets": [],
        "strict_trace_continuation": True,
        # Stated, or the variable SENTRY_SPOTLIGHT would open a way around the transport.
        "spotlight": False,
        # Noise.
        "ignore_errors": IGNORED_ERRORS,
        "before_send": RepeatLimit().before_send,
        # Cost. The redaction cuts shorter, in characters of up to 4 bytes, since half a
        # secret would not be recognised.
        "max_value_length": 4 * (MAX_LENGTH + OVERLAP),
        "max_breadcrumbs": 30,
        # What may wait for a slow Sentry: 2,000 errors at once and their traces, 10 kB
        # each. The SDK's 100 would lose a third of them even to a fast one.
        "transport_queue_size": 2500,
        # Seconds for which a process that ends waits for them while they leave.
        "shutdown_timeout": 8,
        "auto_enabling_integrations": False,
        "disabled_integrations": [ArgvIntegration(), ModulesIntegration()],
        "integrations": [DjangoIntegration(signals_spans=False, cache_spans=True)],
    }
    # With a rate of 0, the SDK would still make the spans, only not send them.
    if config.traces_sample_rate:
        options["traces_sampler"] = make_traces_sampler(config.traces_sample_rate)
    # SDK 3 knows only profiles of whole processes, not of a share of the requests.
    if config.traces_sample_rate and "profiles_sample_rate" in DEFAULT_OPTIONS:
        options["profiles_sample_rate"] = config.profiles_sample_rate
    return options


def template_of_log_message(breadcrumb, hint):
    """Keep a log message as it stands in the code, without its parameters."""
    if record := hint.get("log_record"):
        breadcrumb["message"] = str(record.msg)
        breadcrumb["data"] = {}
    return breadcrumb


def drop_early(event, hint):
    """Drop what redaction would drop, before the SDK makes texts of it: that is most of
    what a trace costs, and the text of a query set in a template's context takes a query.
    """
    trace = (event.get("contexts") or {}).get("trace") or {}
    for span in (trace, *(event.get("spans") or ())):
        if data := span.get("data"):
            span["data"] = {
                key: value
                for key, value in data.items()
                if isinstance(value, (int, float))
                or (key in ATTRIBUTES and isinstance(value, str))
            }
    if request := event.get("request"):
        request.pop("env", None)
    event.setdefault("sdk", SDK)
    return event
