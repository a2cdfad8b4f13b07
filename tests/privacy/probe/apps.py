import os
import socket

import sentry_sdk
from django.apps import AppConfig
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.logging import LoggingIntegration

# Version 3 streams all traces, and sends all logs.
STATIC = hasattr(sentry_sdk, "start_transaction")


class ProbeConfig(AppConfig):
    """Lets the project's call of `sentry_sdk.init` collect more than it wants to.

    PROBE_LIFECYCLE   static or stream: how traces are sent
    PROBE_COLLECTION  project: what the project collects, and what it leaves out of
                      scope, such as logs; everything: all that the SDK can collect
    PROBE_REDACTION   usual, strict, or none: the envelopes leave as the SDK made them
    """

    name = "probe"

    def ready(self):
        socket.gethostname = lambda: os.environ["PROBE_HOST_NAME"]
        init = sentry_sdk.init
        sentry_sdk.init = lambda **options: init(**changed(options))


def changed(options):
    options |= {
        "integrations": [
            DjangoIntegration(
                middleware_spans=True,
                signals_spans=True,
                cache_spans=True,
                db_transaction_spans=True,
            ),
            LoggingIntegration(**({"capture_sentry_logs": True} if STATIC else {})),
        ],
    }
    if os.environ["PROBE_LIFECYCLE"] == "stream":
        options.pop("profiles_sample_rate", None)
        options |= {
            "trace_lifecycle": "stream",
            "profile_session_sample_rate": 1.0,
            "profile_lifecycle": "trace",
        }
    if os.environ["PROBE_COLLECTION"] == "everything":
        options |= {
            "data_collection": {},
            "max_request_body_size": "always",
            "server_name": None,
            "add_full_stack": True,
            "attach_stacktrace": True,
            "max_value_length": None,
            "strict_trace_continuation": False,
            "disabled_integrations": [],
        }
    if os.environ["PROBE_REDACTION"] == "none":
        from monitoring import sdk

        del options["transport"], options["before_breadcrumb"]
        sdk.drop_early = lambda event, hint: event
    return options
