"""What each kind of envelope item may carry. What is not named here stays behind."""

import linecache
import math
import re
import uuid
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from .patterns import FILTERED, TOKEN, without_quoted

MAX_DEPTH = 6
MAX_ITEMS = 100
# A client may send any word as its method.
METHODS = {
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
}  # fmt: skip
METHOD_KEYS = {"method", "http.method", "http.request.method"}
# Names that developers choose. In strict mode, one that is not made of words is dropped.
NAME_KEYS = {
    "category", "code.function", "code.function.name", "code.namespace", "db.name",
    "db.namespace", "django.view", "filename", "function", "http.route", "logger",
    "logger.name", "module", "monitor_config", "monitor_slug", "name", "op", "sentry.op",
    "sentry.segment.name", "status", "type", "unit",
}  # fmt: skip
_NOT_WORDS = re.compile(r"\d[^\W\d_]|\d{5}")
_MEDIA_TYPE = re.compile(r"[a-z]{1,16}/[A-Za-z.+-]{1,64}")
# A variable whose value is in quotes or worked out by the shell may hold a space.
_PROGRAM = re.compile(r"['\"]?(?:\w+=[\w./:+-]*+\s+)*+([\w./+-]+)(?![\w./+=-])")

# https://develop.sentry.dev/sdk/data-model/event-payloads/
EVENT_KEYS = {
    "type", "event_id", "timestamp", "start_timestamp", "platform", "level", "logger",
    "release", "environment", "dist", "sdk", "transaction_info",
}  # fmt: skip
FRAME_KEYS = {"filename", "function", "module", "lineno", "colno", "in_app", "platform"}
SOURCE_LINES = 3  # before and after that of the frame
SOURCE_KEYS = {"context_line", "pre_context", "post_context"}
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
# Texts in the data of spans, logs and metrics. Numbers and truth values stay, too.
ATTRIBUTES = {
    "cache.hit", "cache.item_size", "cache.success", "code.file.path", "code.filepath",
    "code.function", "code.function.name", "code.lineno", "code.line.number",
    "code.namespace",
    "db.name", "db.namespace", "db.operation", "db.operation.name", "db.system",
    "db.system.name", "db.driver.name", "django.view", "http.method",
    "http.request.method", "http.route", "http.response.status_code", "http.status_code",
    "logger.name", "messaging.system", "net.peer.name", "network.peer.address",
    "network.peer.port", "sentry.environment", "sentry.op", "sentry.origin",
    "sentry.release", "sentry.sdk.name", "sentry.sdk.version", "sentry.segment.name",
    "sentry.segment.id", "sentry.severity_text", "sentry.span.source",
    "sentry.trace_lifecycle", "sentry.message.template", "server.port",
    "thread.id",
}  # fmt: skip
EXTRA_OF_SDK = {"request", "sys.argv"}
# Breadcrumbs that the SDK makes: their messages and data hold what was dealt with.
COMMAND_CRUMBS = {"redis", "subprocess"}
HTTP_CRUMBS = {"http", "httplib"}
HTTP_CRUMB_KEYS = {
    "method", "http.method", "http.request.method", "status_code",
    "http.response.status_code",
}  # fmt: skip
# Of attributes: https://develop.sentry.dev/sdk/telemetry/attributes/
TYPES = {bool: "boolean", int: "integer", float: "double", str: "string"}
# The modules of errors that databases raise: they quote values.
DATABASES = (
    "django.db.utils", "psycopg", "sqlite3", "MySQLdb", "pymysql", "oracledb", "asyncpg",
)  # fmt: skip
# Security events have their own file, logs/security.log.
PRIVATE_LOGGERS = ("security.", "django.security.")


def is_private(logger):
    """Whether it is one of the loggers of security events; typed if of an attribute."""
    name = logger.get("value") if isinstance(logger, dict) else logger
    return f"{name}.".startswith(PRIVATE_LOGGERS)


def is_number_or_uuid(value):
    try:
        return isinstance(value, int) or bool(uuid.UUID(value))
    except (AttributeError, TypeError, ValueError):
        return False


def own_host(netloc):
    """Return the host of a request, unless it is one that a client made up."""
    host, _ = split_domain_port(netloc.rpartition("@")[2])
    known = host and validate_host(host, settings.ALLOWED_HOSTS)
    return netloc.rpartition("@")[2] if known else FILTERED


def source_context(path, number):
    """Return line `number` (from 1) of a Python file, and those before and after it.

    Here and not in the SDK, which reads the whole file for each frame of each error.
    """
    if not path or not number or not path.endswith(".py"):
        return {}
    lines = linecache.getlines(path)
    return {
        "pre_context": lines[max(0, number - 1 - SOURCE_LINES) : number - 1],
        "context_line": "".join(lines[number - 1 : number]),
        "post_context": lines[number : number + SOURCE_LINES],
    }


class Rules:
    """Rewrites item payloads.

    redactor: a `patterns.Redactor`.
    attempt: called with a kind, a rule and a value, for a part that can be left out;
        returns what the rule makes of it, or None if it fails.
    own: texts that stay as they are, where the SDK puts them: release, environment.
    """

    def __init__(self, redactor, attempt=lambda kind, rule, value: rule(value), own=()):
        self.redactor = redactor
        self.policy = redactor.policy
        self.attempt = attempt
        self.own = set(own)
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

    def name(self, value):
        """A name in the code, or a tree of names."""
        if isinstance(value, dict):
            return {key: self.name(item) for key, item in value.items()}
        if self.policy.strict and isinstance(value, str) and _NOT_WORDS.search(value):
            return FILTERED
        return self.structure(value)

    def number(self, value):
        """A number, unless it is one of a card or a secret; NaN is not JSON."""
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if abs(value) >= 10**63:
            return TOKEN
        kept = self.redactor.text(str(value))
        return value if kept == str(value) else kept

    def tree(self, value, depth=0):
        """Any JSON value: redacted texts, no value under a sensitive name."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            return self.number(value)
        if isinstance(value, str):
            return self.text(value)
        if depth >= MAX_DEPTH:
            return FILTERED
        if isinstance(value, dict):
            # {"name": "password", "value": "x"}
            named = value.get("name", value.get("key"))
            named = isinstance(named, str) and self.is_secret(named)
            kept = {}
            for key, item in list(value.items())[:MAX_ITEMS]:
                name = self.redactor.text(str(key))
                secret = self.is_secret(key) or self.is_secret(name)
                if secret or (named and key == "value"):
                    kept[name] = self.hidden(item)
                else:
                    kept[name] = self.tree(item, depth + 1)
            return kept
        if isinstance(value, (list, tuple)):
            if (
                len(value) == 2
                and isinstance(value[0], str)
                and self.is_secret(value[0])
            ):
                return [self.redactor.text(value[0]), FILTERED]  # A name and its value.
            return [self.tree(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
        return self.text(repr(value))

    def hidden(self, value):
        """A secret; but that there is none may be said."""
        nothing = value is None or isinstance(value, bool) or value == ""
        return value if nothing else FILTERED

    def own_tree(self, mapping):
        """What the developer attached, if anything of it may leave."""
        return {} if self.policy.strict else self.tree(mapping)

    def structure(self, value):
        """JSON that the SDK made: kept in strict mode, too, but searched for secrets."""
        if isinstance(value, str):
            return value if value in self.own else self.redactor.text(value)
        if isinstance(value, float):
            return self.number(value)
        if isinstance(value, dict):
            return {
                self.redactor.text(str(key)): self.structure(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.structure(item) for item in value]
        return value

    def pick(self, mapping, keys):
        return {
            key: self.value(key, value) for key, value in mapping.items() if key in keys
        }

    def value(self, key, value):
        """A value that is kept for its key."""
        if key in METHOD_KEYS:
            return value if value in METHODS else FILTERED
        return self.name(value) if key in NAME_KEYS else self.structure(value)

    def is_secret(self, key):
        return self.redactor.is_sensitive(str(key))

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
        if fingerprint := event.get("fingerprint"):
            kept["fingerprint"] = [
                part if part == "{{ default }}" else self.text(part)
                for part in fingerprint
            ]
        if measurements := event.get("measurements"):
            kept["measurements"] = self.measurements(measurements)
        if name := event.get("transaction"):
            kept["transaction"] = self.transaction_name(
                name, (event.get("transaction_info") or {}).get("source")
            )
        rules = {
            "user": self.user,
            "tags": self.tags,
            "request": lambda request: self.request(request, kept.get("tags") or {}),
            "contexts": self.contexts,
            "extra": self.extra,
            "breadcrumbs": self.breadcrumbs,
        }
        # A part that fails is left out: the others tell enough.
        for key, rule in rules.items():
            if event.get(key) and (part := self.attempt(key, rule, event[key])):
                kept[key] = part
        return kept

    def transaction_name(self, name, source):
        # `url`: the raw path, since no route matched.
        return self.redactor.path(name) if source == "url" else self.name(name)

    def user(self, user):
        if not self.policy.strict:
            return self.pick(user, {"id", "username", "is_staff"})
        kept = self.pick(user, {"id", "is_staff"})
        if not is_number_or_uuid(kept.get("id")):
            kept.pop("id", None)
        return kept

    def tags(self, tags):
        tags = dict(tags.items() if isinstance(tags, dict) else tags)
        # These are ours and hold no free text.
        own = {"request_id", "request_path", "request_method", "storage_backend"}
        kept = self.own_tree(tags) | self.pick(tags, own)
        if "request_method" in kept:
            kept["request_method"] = self.value("method", kept["request_method"])
        return kept

    def contexts(self, contexts):
        return {
            self.redactor.text(name): kept
            for name, context in contexts.items()
            if isinstance(context, dict) and (kept := self.context(name, context))
        }

    def extra(self, extra):
        return self.own_tree({k: v for k, v in extra.items() if k not in EXTRA_OF_SDK})

    def breadcrumbs(self, crumbs):
        values = crumbs.get("values") if isinstance(crumbs, dict) else crumbs
        crumbs = [self.attempt("breadcrumb", self.breadcrumb, v) for v in values or []]
        return {"values": list(filter(None, crumbs))}

    def measurements(self, measurements):
        return {
            self.name(name): self.structure(value)
            for name, value in measurements.items()
        }

    def exception(self, value):
        kept = self.pick(value, {"type", "module", "thread_id"})
        if value.get("value") is not None:
            kept["value"] = self.text(value["value"])
            if str(value.get("module")).startswith(DATABASES):
                kept["value"] = without_quoted(kept["value"])
        if mechanism := value.get("mechanism"):
            kept["mechanism"] = self.pick(mechanism, MECHANISM_KEYS)
        if stacktrace := value.get("stacktrace"):
            kept["stacktrace"] = self.stacktrace(stacktrace)
        return kept

    def thread(self, thread):
        kept = self.pick(thread, {"id", "crashed", "current", "main"})
        if stacktrace := thread.get("stacktrace"):
            kept["stacktrace"] = self.stacktrace(stacktrace)
        return kept

    def stacktrace(self, stacktrace):
        frames = stacktrace.get("frames") or []
        return {"frames": [self.frame(frame) | self.source(frame) for frame in frames]}

    def frame(self, frame):
        return self.pick(frame, FRAME_KEYS)

    def source(self, frame):
        """The lines of code around a frame."""
        if not self.policy.source_context or self.policy.strict:
            return {}
        if not frame.get("context_line"):  # A template's frame has them.
            frame = source_context(frame.get("abs_path"), frame.get("lineno"))
        return {
            key: self.lines(frame[key])
            for key in SOURCE_KEYS & frame.keys()
            if frame[key]
        }

    def lines(self, code):
        """A line, or a list of lines."""
        if isinstance(code, list):
            return [self.lines(line) for line in code]
        return self.redactor.source(code.rstrip("\r\n"))

    def request(self, request, tags):
        kept = self.pick(request, {"method"})
        if url := request.get("url"):
            parts = urlsplit(url)
            path = tags.get("request_path") or self.redactor.path(parts.path)
            kept["url"] = f"{parts.scheme}://{own_host(parts.netloc)}{path}"
        if (query := request.get("query_string")) and self.policy.allowed_query_params:
            kept["query_string"] = self.redactor.text(self.redactor.query(str(query)))
        headers = {
            name: self.header(name, str(value))
            for name, value in (request.get("headers") or {}).items()
            if name.lower() in self.policy.allowed_headers
        }
        return kept | ({"headers": headers} if headers else {})

    def header(self, name, value):
        if name.lower() == "content-type":
            # Without parameters, which a client chooses.
            value = value.partition(";")[0].strip()
            return value if _MEDIA_TYPE.fullmatch(value) else FILTERED
        return self.redactor.text(value)

    def context(self, name, context):
        if name == "trace":
            return self.span(context)
        if name in CONTEXT_KEYS:
            return self.pick(context, CONTEXT_KEYS[name])
        return self.own_tree(context)

    def breadcrumb(self, crumb):
        category = crumb.get("category")
        if is_private(category):
            return None
        data = crumb.get("data") or {}
        kept = self.pick(crumb, {"type", "category", "level", "timestamp"})
        if category == "query":
            kept["message"] = self.redactor.sql(crumb.get("message") or "")
        elif category in COMMAND_CRUMBS:
            kept["message"] = self.program(crumb.get("message") or "")
        elif HTTP_CRUMBS & {category, crumb.get("type")}:
            kept["data"] = self.pick(data, HTTP_CRUMB_KEYS)
            if url := data.get("url") or data.get("url.full"):
                kept["data"]["url"] = self.host(str(url))
        else:
            if message := crumb.get("message"):
                kept["message"] = self.text(message)
            if data := self.own_tree(data):
                kept["data"] = data
        return kept

    # --- Spans, logs, metrics -----------------------------------------------------------

    def span(self, span):
        kept = self.pick(span, TRACE_KEYS)
        op = str(span.get("op") or "")
        if description := span.get("description"):
            kept["description"] = self.span_name(op, description)
        if tags := self.own_tree(span.get("tags") or {}):
            kept["tags"] = tags
        if data := span.get("data"):
            kept["data"] = self.attributes(data)
        if measurements := span.get("measurements"):
            kept["measurements"] = self.measurements(measurements)
        return kept

    def stream_span(self, span):
        attributes = span.get("attributes") or {}
        op = str((attributes.get("sentry.op") or {}).get("value") or "")
        source = (attributes.get("sentry.span.source") or {}).get("value")
        if op == "http.server":
            source = source or "url"
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
            return f"{self.value('method', method)} {self.host(url)}"
        if op.startswith(("cache", "db.redis")):
            return self.name(op)  # The name is a key.
        if op.startswith("subprocess"):
            return self.program(name)
        if op.startswith(("middleware", "template", "view", "event")):
            return self.name(name)
        if op.startswith("http.server"):
            return self.redactor.path(name)
        return self.text(name)

    def program(self, command):
        """Return the name of the program in a command line."""
        found = _PROGRAM.match(command)
        return self.name(found[1].rpartition("/")[2]) if found else FILTERED

    def host(self, url):
        """Return the scheme and host of a URL, without userinfo, path and query."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return FILTERED
        host = parts.netloc.rpartition("@")[2]
        return self.redactor.text(f"{parts.scheme}://{host}" if host else FILTERED)

    def attributes(self, data):
        kept = {}
        for key, value in data.items():
            if key in ATTRIBUTES:
                kept[key] = self.value(key, value)
            elif isinstance(value, (bool, int, float)) and self.is_own_number(key):
                kept[self.redactor.text(key)] = self.tree(value)
        return kept

    def is_own_number(self, key):
        """Whether a number under `key` is one that the developer gave a name."""
        return not (
            self.policy.strict
            or self.is_secret(key)
            or key.startswith("sentry.message.parameter")
        )

    def typed_attributes(self, attributes):
        """Attributes in the newer form: `{"value": ..., "type": ...}`."""
        values = {
            key: attribute["value"]
            for key, attribute in attributes.items()
            if isinstance(attribute, dict) and "value" in attribute
        }
        return {
            key: {"value": value, "type": TYPES[type(value)]}
            for key, value in self.attributes(values).items()
            if type(value) in TYPES
        }

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
            "items": [
                rule(item)
                for item in payload.get("items") or []
                if not is_private((item.get("attributes") or {}).get("logger.name"))
            ],
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
            **self.pick(inner, {"stacks", "samples"}),
            "frames": [self.frame(frame) for frame in inner.get("frames") or []],
            "thread_metadata": {
                id: {} for id in map(str, inner.get("thread_metadata") or {})
            },
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
