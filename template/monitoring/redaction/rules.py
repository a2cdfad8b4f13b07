"""What each kind of envelope item may carry. What is not named here stays behind."""

from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from .patterns import FILTERED

MAX_DEPTH = 6
MAX_ITEMS = 100

# https://develop.sentry.dev/sdk/data-model/event-payloads/
EVENT_KEYS = {
    "type", "event_id", "timestamp", "start_timestamp", "platform", "level", "logger",
    "release", "environment", "dist", "sdk", "fingerprint", "measurements", "_metrics",
    "transaction_info",
}  # fmt: skip
FRAME_KEYS = {"filename", "function", "module", "lineno", "colno", "in_app", "platform"}
SOURCE_KEYS = ("context_line", "pre_context", "post_context")
MECHANISM_KEYS = {
    "type", "handled", "synthetic", "source", "exception_id", "parent_id",
    "is_exception_group",
}  # fmt: skip
TRACE_KEYS = {
    "trace_id", "span_id", "parent_span_id", "op", "status", "origin", "same_process_as_parent",
    "start_timestamp", "timestamp", "exclusive_time",
}  # fmt: skip
STREAM_SPAN_KEYS = {
    "trace_id", "span_id", "parent_span_id", "status", "is_segment", "start_timestamp",
    "end_timestamp", "kind",
}  # fmt: skip
# Contexts and their keys that the SDK fills in by itself; others are the developer's.
CONTEXT_KEYS = {
    "runtime": {"name", "version", "build"},
    "os": {"name", "version"},
    "response": {"status_code"},
    "profile": {"profile_id", "profiler_id"},
    "culture": {"timezone", "calendar", "locale"},
}
# Texts in the data of spans, logs and metrics; numbers and truth values may always stay.
ATTRIBUTES = {
    "cache.hit", "cache.item_size", "cache.success", "code.file.path", "code.filepath", "code.function",
    "code.function.name", "code.lineno", "code.line.number", "code.namespace",
    "db.name", "db.namespace", "db.operation", "db.operation.name", "db.system",
    "db.system.name", "db.driver.name", "django.view", "http.method",
    "http.request.method", "http.route", "http.response.status_code", "http.status_code",
    "logger.name", "messaging.system", "net.peer.name", "network.peer.address",
    "network.peer.port", "reason", "sentry.environment", "sentry.op", "sentry.origin",
    "sentry.release", "sentry.sdk.name", "sentry.sdk.version", "sentry.segment.name",
    "sentry.segment.id", "sentry.severity_text", "sentry.span.source",
    "sentry.trace_lifecycle", "sentry.message.template", "server.address", "server.port",
    "thread.id", "thread.name",
}  # fmt: skip
BREADCRUMB_DATA = {
    "http": ("method", "status_code", "reason"),
    "httplib": ("method", "status_code", "reason"),
}
USER_KEYS = {"id", "username", "is_staff"}
PRIVATE_LOGGERS = ("security", "django.security")


def own_host(netloc):
    """Return the host of a request, unless it is one that a client made up."""
    host, _ = split_domain_port(netloc.rpartition("@")[2])
    known = host and validate_host(host, settings.ALLOWED_HOSTS)
    return netloc.rpartition("@")[2] if known else FILTERED


class Rules:
    """Rewrites item payloads. redactor: a `patterns.Redactor`."""

    def __init__(self, redactor):
        self.redactor = redactor
        self.policy = redactor.policy
        self.by_type = {
            "event": self.event,
            "transaction": self.transaction,
            "span": self.batch(self.stream_span),
            "log": self.batch(self.log),
            "trace_metric": self.batch(self.metric),
            "profile": self.profile,
            "profile_chunk": self.profile,
            "session": self.session,
            "sessions": self.session,
            "check_in": self.check_in,
            "client_report": self.client_report,
        }

    # --- Text and trees -----------------------------------------------------------------

    def text(self, value):
        """Free text: what people wrote, and what code made of values."""
        if self.policy.strict:
            return FILTERED
        return self.redactor.text(value if isinstance(value, str) else str(value))

    def tree(self, value, depth=0):
        """Any JSON value: redacted texts, no value under a sensitive name."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, str):
            return self.text(value)
        if depth >= MAX_DEPTH:
            return FILTERED
        if isinstance(value, dict):
            return {
                self.redactor.text(str(key)): FILTERED
                if self.redactor.is_sensitive(str(key)) and item is not None
                else self.tree(item, depth + 1)
                for key, item in list(value.items())[:MAX_ITEMS]
            }
        if isinstance(value, (list, tuple)):
            return [self.tree(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
        return self.text(repr(value))

    def structure(self, value):
        """JSON that the SDK made: kept in strict mode, too, but searched for secrets."""
        if isinstance(value, str):
            return self.redactor.text(value)
        if isinstance(value, dict):
            return {str(key): self.structure(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.structure(item) for item in value]
        return value

    def pick(self, mapping, keys):
        return {
            key: self.structure(value) for key, value in mapping.items() if key in keys
        }

    # --- Errors and transactions --------------------------------------------------------

    def event(self, event):
        kept = self.common(event)
        if "exception" in event:
            values = event["exception"].get("values") or []
            kept["exception"] = {"values": [self.exception(value) for value in values]}
        if entry := event.get("logentry"):
            # The template as it stands in the code, without the parameters.
            kept["logentry"] = {"message": self.text(entry.get("message") or "")}
        if "message" in event:
            kept["message"] = self.text(event["message"])
        if "threads" in event:
            threads = event["threads"].get("values") or []
            kept["threads"] = {"values": [self.thread(thread) for thread in threads]}
        if "stacktrace" in event:
            kept["stacktrace"] = self.stacktrace(event["stacktrace"])
        return kept

    def transaction(self, event):
        kept = self.common(event)
        kept["spans"] = [self.span(span) for span in event.get("spans") or []]
        return kept

    def common(self, event):
        kept = self.pick(event, EVENT_KEYS)
        if name := event.get("transaction"):
            kept["transaction"] = self.transaction_name(
                name, (event.get("transaction_info") or {}).get("source")
            )
        if user := event.get("user"):
            kept["user"] = self.pick(user, USER_KEYS)
        if tags := event.get("tags"):
            kept["tags"] = self.tags(tags)
        if request := event.get("request"):
            kept["request"] = self.request(request, kept.get("tags") or {})
        if contexts := event.get("contexts"):
            kept["contexts"] = {
                self.redactor.text(name): self.context(name, context)
                for name, context in contexts.items()
                if isinstance(context, dict)
            }
        if extra := event.get("extra"):
            kept["extra"] = self.tree(
                {k: v for k, v in extra.items() if k not in ("sys.argv", "request")}
            )
        if crumbs := event.get("breadcrumbs"):
            values = crumbs.get("values") if isinstance(crumbs, dict) else crumbs
            kept["breadcrumbs"] = {
                "values": [
                    self.breadcrumb(crumb)
                    for crumb in values or []
                    if not str(crumb.get("category")).startswith(PRIVATE_LOGGERS)
                ]
            }
        return kept

    def transaction_name(self, name, source):
        # `url`: the raw path, since no route matched.
        return self.redactor.path(name) if source == "url" else self.redactor.text(name)

    def tags(self, tags):
        pairs = tags.items() if isinstance(tags, dict) else tags
        kept = self.tree(dict(pairs))
        if self.policy.strict:
            # These three are ours and hold no free text.
            own = ("request_path", "request_method", "storage_backend")
            kept |= {k: self.redactor.text(tags[k]) for k in own if k in tags}
        return kept

    def exception(self, value):
        kept = self.pick(value, {"type", "module", "thread_id"})
        if value.get("value") is not None:
            kept["value"] = self.text(value["value"])
        if mechanism := value.get("mechanism"):
            kept["mechanism"] = self.pick(mechanism, MECHANISM_KEYS)
        if stacktrace := value.get("stacktrace"):
            kept["stacktrace"] = self.stacktrace(stacktrace)
        return kept

    def thread(self, thread):
        kept = self.pick(thread, {"id", "name", "crashed", "current", "main"})
        if stacktrace := thread.get("stacktrace"):
            kept["stacktrace"] = self.stacktrace(stacktrace)
        return kept

    def stacktrace(self, stacktrace):
        return {"frames": [self.frame(f) for f in stacktrace.get("frames") or []]}

    def frame(self, frame):
        kept = self.pick(frame, FRAME_KEYS)
        if self.policy.source_context:
            for key in SOURCE_KEYS:
                if frame.get(key):
                    kept[key] = self.structure(frame[key])
        return kept

    def request(self, request, tags):
        kept = self.pick(request, {"method"})
        if url := request.get("url"):
            parts = urlsplit(url)
            path = tags.get("request_path") or self.redactor.path(parts.path)
            kept["url"] = f"{parts.scheme}://{own_host(parts.netloc)}{path}"
        if (query := request.get("query_string")) and self.policy.allowed_query_params:
            kept["query_string"] = self.redactor.text(self.redactor.query(str(query)))
        headers = {
            name: self.redactor.text(str(value))
            for name, value in (request.get("headers") or {}).items()
            if name.lower() in self.policy.allowed_headers
        }
        return kept | ({"headers": headers} if headers else {})

    def context(self, name, context):
        if name == "trace":
            return self.span(context)
        if name in CONTEXT_KEYS:
            return self.pick(context, CONTEXT_KEYS[name])
        return self.tree(context)

    def breadcrumb(self, crumb):
        category = crumb.get("category")
        kept = self.pick(crumb, {"type", "category", "level", "timestamp"})
        if message := crumb.get("message"):
            kept["message"] = (
                self.redactor.sql(message)
                if category == "query"
                else self.text(message)
            )
        if data := crumb.get("data"):
            if crumb.get("type") in BREADCRUMB_DATA or category in BREADCRUMB_DATA:
                kept["data"] = self.pick(data, set(BREADCRUMB_DATA["http"]))
                if url := data.get("url"):
                    kept["data"]["url"] = self.host(str(url))
            elif category not in ("query", "redis"):
                kept["data"] = self.tree(data)
        return kept

    # --- Spans, logs, metrics -----------------------------------------------------------

    def span(self, span):
        kept = self.pick(span, TRACE_KEYS)
        op = str(span.get("op") or "")
        if description := span.get("description"):
            kept["description"] = self.span_name(op, description)
        if tags := span.get("tags"):
            kept["tags"] = self.tree(tags)
        if data := span.get("data"):
            kept["data"] = self.attributes(data)
        if measurements := span.get("measurements"):
            kept["measurements"] = self.structure(measurements)
        return kept

    def stream_span(self, span):
        attributes = span.get("attributes") or {}
        op = str((attributes.get("sentry.op") or {}).get("value") or "")
        source = (attributes.get("sentry.span.source") or {}).get("value")
        kept = self.pick(span, STREAM_SPAN_KEYS)
        kept["attributes"] = self.typed_attributes(attributes)
        if span.get("is_segment") or op == "http.server":
            kept["name"] = self.transaction_name(str(span.get("name")), source)
        else:
            kept["name"] = self.span_name(op, str(span.get("name")))
        segment = kept["attributes"].get("sentry.segment.name")
        if segment:
            segment["value"] = self.redactor.path(segment["value"])
        return kept

    def span_name(self, op, name):
        """The description of a span, by what it measures."""
        if op.startswith("db") and "redis" not in op:
            return self.redactor.sql(name)
        if op.startswith("http.client"):
            method, _, url = name.partition(" ")
            return f"{self.redactor.text(method)} {self.host(url)}"
        if op.startswith(("cache", "db.redis")):
            return op  # the name is a key
        if op.startswith(("middleware", "template", "view", "event")):
            return self.redactor.text(name)
        if op.startswith("http.server"):
            return self.redactor.path(name)
        return self.text(name)

    def host(self, url):
        """Return the scheme and host of a URL, without userinfo, path and query."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return FILTERED
        host = parts.netloc.rpartition("@")[2]
        return self.redactor.text(f"{parts.scheme}://{host}" if host else FILTERED)

    def attributes(self, data):
        return {
            key: self.structure(value)
            for key, value in data.items()
            if key in ATTRIBUTES
            or (isinstance(value, (bool, int, float)) and not self.is_secret(key))
        }

    def typed_attributes(self, attributes):
        """Attributes in the newer form: `{"value": ..., "type": ...}`."""
        values = {
            key: attribute.get("value") if isinstance(attribute, dict) else attribute
            for key, attribute in attributes.items()
        }
        kept = self.attributes(values)
        return {
            key: {"value": kept[key], "type": attributes[key].get("type", "string")}
            for key in kept
            if isinstance(attributes[key], dict)
        }

    def is_secret(self, key):
        return self.redactor.is_sensitive(str(key))

    def log(self, log):
        attributes = log.get("attributes") or {}
        template = (attributes.get("sentry.message.template") or {}).get("value")
        keys = {"timestamp", "trace_id", "span_id", "level", "severity_number"}
        kept = self.pick(log, keys)
        kept["body"] = self.text(template or log.get("body") or "")
        kept["attributes"] = self.typed_attributes(attributes)
        if "sentry.message.template" in kept["attributes"]:
            kept["attributes"]["sentry.message.template"]["value"] = kept["body"]
        return kept

    def metric(self, metric):
        keys = {"timestamp", "trace_id", "span_id", "name", "type", "value", "unit"}
        kept = self.pick(metric, keys)
        kept["attributes"] = self.typed_attributes(metric.get("attributes") or {})
        return kept

    def batch(self, rule):
        """Apply `rule` to each of the items that travel together."""
        return lambda payload: {
            **self.pick(payload, {"version"}),
            "items": [rule(item) for item in payload.get("items") or []],
        }

    # --- The rest -----------------------------------------------------------------------

    def profile(self, profile):
        keys = {
            "version", "event_id", "platform", "release", "environment", "timestamp",
            "chunk_id", "profiler_id", "client_sdk", "measurements",
        }  # fmt: skip
        kept = self.pick(profile, keys)
        inner = profile.get("profile") or {}
        kept["profile"] = {
            **self.pick(inner, {"stacks", "samples", "thread_metadata"}),
            "frames": [self.frame(frame) for frame in inner.get("frames") or []],
        }
        kept["runtime"] = self.pick(profile.get("runtime") or {}, {"name", "version"})
        kept["os"] = self.pick(profile.get("os") or {}, {"name", "version"})
        kept["device"] = self.pick(profile.get("device") or {}, {"architecture"})
        keys = {
            "id", "trace_id", "active_thread_id", "relative_start_ns", "relative_end_ns",
        }  # fmt: skip
        kept["transactions"] = [
            self.pick(transaction, keys)
            | {"name": self.redactor.path(str(transaction.get("name")))}
            for transaction in profile.get("transactions") or []
        ]
        return kept

    def session(self, session):
        keys = {
            "sid", "init", "started", "timestamp", "status", "errors", "duration", "seq",
        }  # fmt: skip
        kept = self.pick(session, keys)
        counts = {"started", "exited", "errored", "abnormal", "crashed"}
        if "aggregates" in session:
            kept["aggregates"] = [self.pick(a, counts) for a in session["aggregates"]]
        attrs = session.get("attrs") or {}
        kept["attrs"] = self.pick(attrs, {"release", "environment"})
        return kept

    def check_in(self, check_in):
        keys = {
            "type", "check_in_id", "monitor_slug", "status", "duration", "monitor_config",
            "release", "environment",
        }  # fmt: skip
        kept = self.pick(check_in, keys)
        if trace := (check_in.get("contexts") or {}).get("trace"):
            kept["contexts"] = {"trace": self.pick(trace, TRACE_KEYS)}
        return kept

    def client_report(self, report):
        keys = {"reason", "category", "quantity"}
        kept = self.pick(report, {"timestamp"})
        discarded = report.get("discarded_events") or []
        kept["discarded_events"] = [self.pick(event, keys) for event in discarded]
        return kept
