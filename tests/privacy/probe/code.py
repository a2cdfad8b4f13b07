"""Channels that code fills: each `plant` runs in a view, in a scope of its own.

What it raises is captured; if it raises nothing, a message is, so that all that the
plant left on the scope leaves with an event.
"""

import contextlib
import dataclasses
import decimal
import json
import logging
import os
import re
import subprocess
import tempfile
import threading
import urllib.request
from datetime import datetime
from http.client import HTTPConnection
from urllib.parse import quote

import sentry_sdk
import sentry_sdk.crons
from django import forms
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.exceptions import ValidationError as Invalid
from django.core.mail import EmailMessage
from django.db import DataError, IntegrityError, ProgrammingError, connection
from django.dispatch import Signal
from django.http import Http404
from django.template import Context, engines
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.test import RequestFactory
from django.urls import resolve, reverse
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from .channels import AUTOMATIC, DEVELOPER, Channel, table

logger = logging.getLogger("probe")


class Unsupported(Exception):
    """This version of the SDK has no such function, so nothing can leave by it."""


def api(path):
    """Return `sentry_sdk.<path>`."""
    try:
        return import_string(f"sentry_sdk.{path}")
    except ImportError:
        raise Unsupported(path) from None


def streaming():
    return sentry_sdk.get_client().options["trace_lifecycle"] == "stream"


def span(name="ordinary", op="probe", **data):
    """Start a span, with whichever function this SDK and its settings want."""
    if not streaming():
        started = sentry_sdk.start_span(op=op, name=name)
        for key, value in data.items():
            started.set_data(key, value)
        return started
    return api("traces.start_span")(name=name, attributes={"sentry.op": op, **data})


def fail(error):
    raise error


def in_span(**data):
    with span(**data):
        pass


# --- Where an error leaves something behind -------------------------------------------


class Account:
    def __init__(self, secret):
        self.secret = secret

    def __repr__(self):
        return f"<Account {self.secret}>"

    def close(self):
        raise RuntimeError("closing failed")


class Payment(forms.Form):
    iban = forms.CharField()


def local_variable(secret):
    colour = secret
    return len(colour) / 0


def local_password(secret):
    password = secret
    return len(password) / 0


def local_tree(secret):
    cart = {"items": [{"card_password": secret}], "owner": (secret,)}
    return len(cart) / 0


def local_bytes(secret):
    body = secret.encode()
    return len(body) / 0


def local_object(secret):
    account = Account(secret)
    account.close()


def local_request(secret):
    request = RequestFactory().post(f"/reset/{quote(secret)}/?token={quote(secret)}")
    return request / 0


def local_form(secret):
    form = Payment({"iban": secret})
    return form / 0


def local_queryset(secret):
    users = get_user_model().objects.filter(username=secret)
    return users / 0


@dataclasses.dataclass
class Card:
    number: str

    def charge(self):
        raise RuntimeError("charging failed")


def argument(secret, *rest, **more):
    raise RuntimeError("the call failed")


def closure(secret):
    def inner():
        raise RuntimeError(f"{len(secret)} letters")

    inner()


def generator(secret):
    def numbers():
        token = secret
        yield len(token) / 0

    list(numbers())


@sensitive_variables("card", "password")
def sensitive(secret):
    card = password = secret
    return len(card + password) / 0


def context_manager(secret):
    @contextlib.contextmanager
    def unlocked(pin):
        yield pin
        raise RuntimeError("locking failed")

    with unlocked(secret):
        pass


def recursive(secret, depth=30):
    return recursive(secret, depth - 1) if depth else 1 / depth


def in_context(secret):
    try:
        raise KeyError(f"cause {secret}")
    except KeyError:
        raise RuntimeError("effect")  # noqa: B904


def frame_in_context(secret):
    try:
        local_variable(secret)
    except ZeroDivisionError as error:
        raise RuntimeError("effect") from error


def note(secret):
    error = ValueError("noted")
    error.add_note(f"for {secret}")
    raise error


def group(secret):
    raise ExceptionGroup("two", [ValueError(f"one {secret}"), TypeError("two")])


def custom_text(secret):
    class Refused(Exception):
        def __str__(self):
            return f"refused {secret}"

    raise Refused


def unicode_error(secret):
    f"{secret}\udc80".encode()


def called_process(secret):
    subprocess.run(["false", secret], check=True)


def expired_process(secret):
    raise subprocess.TimeoutExpired(["curl", "-u", f"admin:{secret}", "localhost"], 3)


# --- Databases ------------------------------------------------------------------------


def sql(statement, *parameters):
    """Return a plant of a statement; `SECRET` in it stands for the secret."""

    def plant(secret):
        with contextlib.suppress(Exception), connection.cursor() as cursor:
            cursor.execute(statement.replace("SECRET", secret), *parameters)

    return plant


def sql_parameters(secret):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s, %s", [secret, f"x{secret}"])


def sql_named_parameters(secret):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %(owner)s", {"owner": secret})


def sql_many(secret):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE IF NOT EXISTS probe_many (name text)")
        cursor.executemany("INSERT INTO probe_many VALUES (%s)", [[secret], [secret]])


def sql_number(secret):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 WHERE 1 = {secret}")


def orm(secret):
    user = get_user_model()
    list(user.objects.filter(username=secret, email__icontains=secret))


def orm_error(secret):
    user = get_user_model()
    user.objects.create(username=secret, email=secret, date_joined=None)


def raw(secret):
    list(
        get_user_model().objects.raw(
            "SELECT id FROM accounts_user WHERE 1=%s", [secret]
        )
    )


def database_error(error, message):
    def plant(secret):
        try:
            raise RuntimeError("of the driver")
        except RuntimeError as cause:
            raise error(message.replace("SECRET", secret)) from cause

    return plant


# --- Caches, other services, commands -------------------------------------------------


def cache_calls(secret):
    cache.set(f"user:{secret}", 1)
    cache.get(f"user:{secret}")
    cache.get(f"miss:{secret}")
    cache.delete(f"user:{secret}")


def cache_many(secret):
    cache.set_many({f"a:{secret}": 1, f"b:{secret}": 2})
    cache.get_many([f"a:{secret}", f"b:{secret}"])


def cache_value(secret):
    cache.set("value", {"token": secret})
    cache.get("value")
    cache.get("no value", secret)


def upstream(path="/", **more):
    """Return a plant that calls another service."""

    def plant(secret):
        url = os.environ["PROBE_UPSTREAM"] + path.replace(
            "SECRET", quote(secret, safe="")
        )
        data = more.get("data", "").replace("SECRET", secret).encode() or None
        headers = {
            k: v.replace("SECRET", secret) for k, v in more.get("headers", {}).items()
        }
        urllib.request.urlopen(urllib.request.Request(url, data, headers)).read()

    return plant


def upstream_userinfo(secret):
    urllib.request.urlopen(f"http://alice:{quote(secret)}@127.0.0.1:9/").read()


def upstream_http_client(secret):
    host = os.environ["PROBE_UPSTREAM"].removeprefix("http://")
    client = HTTPConnection(host)
    client.request("POST", f"/v1/{quote(secret)}?key={quote(secret)}", body=secret)
    client.getresponse().read()


def upstream_refused(secret):
    urllib.request.urlopen(f"http://127.0.0.1:9/{quote(secret)}?token={quote(secret)}")


def upstream_method(secret):
    client = HTTPConnection(os.environ["PROBE_UPSTREAM"].removeprefix("http://"))
    client.request("".join(filter(str.isalnum, secret)).upper(), "/")
    client.getresponse().read()


def run(command, **more):
    def plant(secret):
        def fill(value):
            return value.replace("SECRET", secret)

        options = {k: fill(v) for k, v in more.items() if isinstance(v, str)}
        options |= {k: v for k, v in more.items() if not isinstance(v, str)}
        if "env" in more:
            options["env"] = {k: fill(v) for k, v in more["env"].items()}
        text = fill(command) if isinstance(command, str) else list(map(fill, command))
        subprocess.run(text, stdout=subprocess.DEVNULL, stderr=-3, **options)

    return plant


def missing_command(secret):
    with contextlib.suppress(OSError):
        subprocess.run([f"/home/{secret}/tool", "--flag"])


# --- Templates ------------------------------------------------------------------------


def template(source):
    def plant(secret):
        text = source.replace("SECRET", secret)
        engines["django"].from_string(text).render({"card": secret, "account": {}})

    return plant


def template_response(secret):
    request = RequestFactory().get("/")
    TemplateResponse(request, "probe/page.html", {"card": secret}).render()


def template_render(secret):
    from django import shortcuts

    shortcuts.render(RequestFactory().get("/"), "probe/page.html", {"card": secret})


def template_error(secret):
    render_to_string("probe/broken.html", {"card": secret, "api_key": secret})


def template_include(secret):
    engine = engines["django"].engine
    engine.from_string("{% include name %}").render(Context({"name": secret}))


# --- Logs -----------------------------------------------------------------------------


def log_exception(secret):
    try:
        local_variable(secret)
    except ZeroDivisionError:
        logger.exception("Failed for %s", secret)


def log_object(secret):
    logger.error(Account(secret))


def log_dictionary(secret):
    logger.error("Refused %(owner)s", {"owner": secret})


def log_request(secret):
    request = RequestFactory().get(f"/reset/{quote(secret)}/?token={quote(secret)}")
    logger.error("Refused %s", request, extra={"request": request})


def security_log(secret):
    logging.getLogger("security").error(f"login failed for {secret}")
    logging.getLogger("django.security.csrf").error(f"no token {secret}")


def log_in_thread(secret):
    def work():
        logger.error("in a thread")
        with span():
            pass
        raise RuntimeError("raised in a thread")

    hook = threading.excepthook
    thread = threading.Thread(target=work, name=f"worker {secret}")
    threading.excepthook = lambda arguments: None
    thread.start()
    thread.join()
    threading.excepthook = hook


# --- Scopes ---------------------------------------------------------------------------


def scope(method, *arguments, **options):
    """Return a plant that calls a method of the scope; SECRET in the arguments."""

    def plant(secret):
        filled = json.loads(
            json.dumps([arguments, options]).replace("SECRET", secret.replace('"', ""))
        )
        getattr(sentry_sdk.get_current_scope(), method)(*filled[0], **filled[1])

    return plant


def extra_object(secret):
    sentry_sdk.get_current_scope().set_extra("account", Account(secret))


def extra_bytes(secret):
    sentry_sdk.get_current_scope().set_extra("bytes", secret.encode())


def extra_request(secret):
    request = RequestFactory().get(f"/reset/{quote(secret)}/?token={quote(secret)}")
    sentry_sdk.get_current_scope().set_extra("req", request)


def deep_extra(secret):
    tree = secret
    for _ in range(12):
        tree = {"down": [tree]}
    sentry_sdk.get_current_scope().set_extra("deep", tree)


def attachment(**options):
    def plant(secret):
        filled = {k: v.replace("SECRET", secret) for k, v in options.items()}
        filled["bytes"] = filled.get("bytes", "1").encode()
        sentry_sdk.get_current_scope().add_attachment(**filled)

    return plant


def attached_file(secret):
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(secret)
    sentry_sdk.get_current_scope().add_attachment(path=file.name)


# --- Traces ---------------------------------------------------------------------------


def transaction_name(secret):
    sentry_sdk.get_current_scope().set_transaction_name(f"checkout {secret}")


def own_transaction(secret):
    if streaming():
        with api("traces.start_span")(name=f"job {secret}", parent_span=None):
            return
    with sentry_sdk.start_transaction(op="task", name=f"job {secret}") as transaction:
        transaction.set_data("argument", secret)
        transaction.set_tag("queue", secret)


def measurement(secret):
    if streaming():
        raise Unsupported("measurements are attributes")
    in_span_scope = sentry_sdk.get_current_scope().transaction
    in_span_scope.set_measurement(secret, 1)


def span_tag(secret):
    if streaming():
        raise Unsupported("spans have attributes only")
    with span() as started:
        started.set_tag("colour", secret)
        started.set_tag(f"tag {secret}", 1)


def span_status(secret):
    with span() as started:
        if streaming():
            raise Unsupported("a status is ok or error")
        started.set_status(f"bad {secret}")


def traced_function(secret):
    if streaming():
        return api("traces.trace")(name=f"step {secret}")(lambda token: None)(secret)
    return sentry_sdk.trace(lambda token: None)(secret)


def signal_receiver(secret):
    class Receiver:
        def __repr__(self):
            return secret

        def __call__(self, **named):
            return None

    signal = Signal()
    receiver = Receiver()
    signal.connect(receiver)
    signal.send(sender=None, card=secret)


def profiled(secret):
    """Long enough for the profiler to see the frame."""

    def work(token):
        return sum(len(token) for _ in range(300_000))

    work(secret)


# --- Check-ins, sessions --------------------------------------------------------------


def check_in(**options):
    def plant(secret):
        filled = json.loads(json.dumps(options).replace("SECRET", secret))
        sentry_sdk.crons.capture_checkin(**{"status": "ok", **filled})

    return plant


def monitored(secret):
    @sentry_sdk.crons.monitor(monitor_slug="nightly")
    def job(token):
        raise RuntimeError("the job failed")

    job(secret)


def session(secret):
    start = api("start_session") if hasattr(sentry_sdk, "start_session") else None
    if start is None:
        raise Unsupported("start_session")
    current = sentry_sdk.get_isolation_scope()
    user = {"id": secret, "email": f"{secret}@example.com", "ip_address": secret}
    current.set_user(user)
    start(session_mode="application")
    api("end_session")()
    current.set_user(None)


def metric(kind="count", name="orders", **attributes):
    def plant(secret):
        filled = {
            k.replace("SECRET", secret): v.replace("SECRET", secret)
            if isinstance(v, str)
            else v
            for k, v in attributes.items()
        }
        api(f"metrics.{kind}")(name.replace("SECRET", secret), 1, attributes=filled)

    return plant


def flag(secret):
    api("feature_flags.add_feature_flag")(f"flag-{secret}", True)


CHANNELS = table(
    Channel,
    (
        "stack trace",
        AUTOMATIC,
        {
            "frame: local variable": local_variable,
            "frame: local password": local_password,
            "frame: local dictionary": local_tree,
            "frame: local bytes": local_bytes,
            "frame: object with a repr": local_object,
            "frame: repr of a request": local_request,
            "frame: bound form": local_form,
            "frame: queryset": local_queryset,
            "frame: dataclass as self": lambda secret: Card(secret).charge(),
            "frame: positional arguments": lambda secret: argument(secret, secret),
            "frame: keyword arguments": lambda secret: argument("x", pin=secret),
            "frame: closure": closure,
            "frame: generator": generator,
            "frame: @sensitive_variables": sensitive,
            "frame: context manager": context_manager,
            "frame: recursion": recursive,
            "frame: of a cause": frame_in_context,
            "frame: arguments of a monitored job": monitored,
        },
    ),
    (
        "exception",
        DEVELOPER,
        {
            "exception: message": lambda s: fail(ValueError(f"refused {s}")),
            "exception: several arguments": lambda s: fail(ValueError("refused", 3, s)),
            "exception: dictionary": lambda s: fail(ValueError({"owner": s})),
            "exception: bytes": lambda s: fail(ValueError(s.encode())),
            "exception: its own __str__": custom_text,
            "exception: key": lambda s: {}[s],
            "exception: note": note,
            "exception: context": in_context,
            "exception: cause": lambda s: database_error(TypeError, "SECRET")(s),
            "exception: group": group,
            "exception: name of the class": lambda s: fail(type(s, (Exception,), {})()),
            "exception: assertion": lambda s: fail(AssertionError(f"{s!r} != 'x'")),
            "exception: attribute": lambda s: getattr(logger, s),
            "exception: import": lambda s: __import__(re.sub(r"\W", "_", s)),
            "exception: path of a file": lambda s: open(f"/nowhere/{s[:150]}"),
            "exception: syntax error": lambda s: compile(f"x = {s!r} 1", "<x>", "exec"),
            "exception: file name of compiled code": lambda s: exec(
                compile("1/0", f"<{s}>", "exec")
            ),
            "exception: SystemError": lambda s: fail(SystemError(s)),
            "exception: Http404": lambda s: fail(Http404(f"no {s}")),
            "exception: PermissionDenied": lambda s: fail(PermissionDenied(f"not {s}")),
            "exception: ImproperlyConfigured": lambda s: fail(ImproperlyConfigured(s)),
            "exception: ValidationError": lambda s: fail(
                Invalid("%(value)s is wrong", params={"value": s})
            ),
            "exception: e-mail refused": lambda s: EmailMessage(
                "x", to=[f"{s}\n@example.com"]
            ).message(),
            "exception: no such URL": lambda s: reverse(f"view-{s}"),
            "exception: path that does not resolve": lambda s: resolve(
                f"/unknown/{s}/"
            ),
            "exception: template that is included": template_include,
            "exception: no such template": lambda s: render_to_string(f"{s[:90]}.html"),
            "exception: command that failed": called_process,
            "exception: command that took too long": expired_process,
        },
    ),
    (
        # Their text was not written by the developer of the project: Python and Django
        # quote a value of the visitor.
        "exception",
        AUTOMATIC,
        {
            "quoted: int()": int,
            "quoted: float()": float,
            "quoted: datetime": lambda s: datetime.fromisoformat(s),
            "quoted: strptime": lambda s: datetime.strptime(s, "%Y"),
            "quoted: Decimal": lambda s: decimal.Decimal(s),
            "quoted: json": lambda s: json.loads(f'{{"a": {s}}}'),
            "quoted: ORM field": lambda s: get_user_model().objects.filter(id=s),
            "quoted: date field": lambda s: get_user_model().objects.filter(
                last_login=s
            ),
            "quoted: unicode": unicode_error,
            "quoted: request in a message": lambda s: fail(
                ValueError(
                    f"no user: {RequestFactory().get(f'/r/{quote(s)}/?t={quote(s)}')}"
                )
            ),
        },
    ),
    (
        "exception",
        AUTOMATIC,
        {
            "database error: duplicate key": database_error(
                IntegrityError,
                'duplicate key value violates unique constraint "u"\nDETAIL:  '
                "Key (email, name)=(SECRET, x) already exists.\n",
            ),
            "database error: failing row": database_error(
                IntegrityError,
                'null value in column "a" violates not-null constraint\nDETAIL:  '
                "Failing row contains (1, two\nlines, SECRET, null).\n",
            ),
            "database error: foreign key": database_error(
                IntegrityError,
                'violates foreign key constraint "f"\nDETAIL:  Key (owner)=(SECRET) '
                'is not present in table "owners".',
            ),
            "database error: invalid input": database_error(
                DataError,
                'invalid input syntax for type uuid: "SECRET"\n'
                "LINE 1: SELECT * FROM t WHERE a = 'SECRET'\n            ^\n",
            ),
            "database error: context": database_error(
                DataError,
                "value too long for type character varying(3)\nCONTEXT:  COPY t, line "
                '1, column a: "SECRET"\n',
            ),
            "database error: MySQL duplicate": database_error(
                IntegrityError, "(1062, \"Duplicate entry 'SECRET' for key 'email'\")"
            ),
            "database error: MySQL value": database_error(
                DataError,
                "(1366, \"Incorrect integer value: 'SECRET' for column 'a'\")",
            ),
            "database error: MySQL syntax": database_error(
                ProgrammingError,
                '(1064, "You have an error in your SQL syntax; check the manual for '
                "the right syntax to use near 'SECRET' at line 1\")",
            ),
            "database error: near": database_error(
                ProgrammingError, 'near "SECRET": syntax error'
            ),
            "database error: unrecognised token": database_error(
                ProgrammingError, 'unrecognized token: "\'SECRET"'
            ),
            "database error: at or near": database_error(
                ProgrammingError, 'syntax error at or near "SECRET"\nLINE 1: SECRET'
            ),
            "database error: check": database_error(
                IntegrityError, "CHECK constraint failed: a<>'SECRET'"
            ),
            "database error: full-text search": database_error(
                ProgrammingError, "malformed MATCH expression: [(SECRET]"
            ),
            "database error: out of range": database_error(
                DataError, 'value "SECRET" is out of range for type integer'
            ),
            "database error: unknown column": database_error(
                ProgrammingError, 'column "SECRET" does not exist'
            ),
            "database error: in French": database_error(
                DataError, "syntaxe en entrée invalide : « SECRET »"
            ),
            "database error: of the ORM": orm_error,
        },
    ),
    (
        "SQL",
        AUTOMATIC,
        {
            "SQL: text": sql("SELECT 1 WHERE 'a' = 'SECRET'"),
            "SQL: text with quotes": sql("SELECT 'it''s SECRET'"),
            "SQL: text after a backslash": sql(r"SELECT '\' , 'SECRET'"),
            "SQL: text after ESCAPE": sql(r"SELECT 'a' LIKE 'b' ESCAPE '\' , 'SECRET'"),
            "SQL: double-quoted text": sql('SELECT 1 WHERE 1 = "SECRET"'),
            "SQL: double-quoted texts": sql('SELECT 1 WHERE 1 IN ("a", "SECRET")'),
            "SQL: double-quoted values": sql('INSERT INTO t VALUES ("a", "SECRET")'),
            "SQL: comment": sql("SELECT 1 /* for SECRET */"),
            "SQL: line comment": sql("SELECT 1 -- for SECRET\n, 2"),
            "SQL: hash comment": sql("SELECT 1 #SECRET"),
            "SQL: nested comment": sql("SELECT 1 /* a /* b */ SECRET */"),
            "SQL: bytes": sql("SELECT X'00', x'SECRET'"),
            "SQL: dollar quotes": sql("SELECT $body$SECRET$body$"),
            "SQL: list": sql("SELECT 1 WHERE 'x' IN ('SECRET', 'SECRET')"),
            "SQL: no closing quote": sql("SELECT 'SECRET"),
            "SQL: JSON path": sql("SELECT '{\"a\": \"SECRET\"}' -> '$.SECRET'"),
            "SQL: parameters": sql_parameters,
            "SQL: named parameters": sql_named_parameters,
            "SQL: executemany": sql_many,
            "SQL: query of the ORM": orm,
            "SQL: raw query": raw,
            "SQL: INSERT": sql("INSERT INTO t (a, b) VALUES (1, 'SECRET')"),
            "SQL: UPDATE": sql("UPDATE t SET a = 'SECRET', b = 'SECRET'"),
            "SQL: LIKE": sql("SELECT 1 WHERE 'x' LIKE '%SECRET%'"),
            "SQL: account": sql("CREATE USER shop PASSWORD 'SECRET'"),
            "SQL: account of MySQL": sql('CREATE USER shop IDENTIFIED BY "SECRET"'),
            "SQL: span of the developer": lambda s: in_span(
                op="db.query", name=f"SELECT '{s}'"
            ),
        },
    ),
    (
        "cache",
        AUTOMATIC,
        {
            "cache: key": cache_calls,
            "cache: keys": cache_many,
            "cache: value": cache_value,
        },
    ),
    (
        "outgoing HTTP",
        AUTOMATIC,
        {
            "HTTP: path": upstream("/SECRET/"),
            "HTTP: token in the path": upstream("/botSECRET/send"),
            "HTTP: query": upstream("/?token=SECRET&colour=SECRET"),
            "HTTP: fragment": upstream("/#SECRET"),
            "HTTP: header": upstream(headers={"Authorization": "Bearer SECRET"}),
            "HTTP: body": upstream(data="password=SECRET"),
            "HTTP: user and password": upstream_userinfo,
            "HTTP: http.client": upstream_http_client,
            "HTTP: connection refused": upstream_refused,
            "HTTP: method": upstream_method,
            "HTTP: not found": upstream("/status/404/SECRET"),
        },
    ),
    (
        "process",
        AUTOMATIC,
        {
            "command: argument": run(["echo", "--password", "SECRET"]),
            "command: option": run(["echo", "--token=SECRET"]),
            "command: ordinary argument": run(["echo", "SECRET"]),
            "command: shell": run("echo SECRET", shell=True),
            "command: environment": run(["true"], env={"COLOUR": "SECRET"}),
            "command: variable before the command": run(
                "PGCOLOUR=SECRET true", shell=True
            ),
            "command: quoted variable": run("COLOUR='light SECRET' true", shell=True),
            "command: input": run(["true"], input="SECRET", text=True),
            "command: not found": missing_command,
        },
    ),
    (
        "template",
        AUTOMATIC,
        {
            "template: context of render()": template_render,
            "template: context of a response": template_response,
            "template: context of an error": template_error,
            "template: filter that fails": template("{{ card|divisibleby:0 }}"),
        },
    ),
    (
        "stack trace",
        DEVELOPER,
        {
            "source: text in a template": template("SECRET\n{{ 1|divisibleby:0 }}"),
            "source: line of a template": template("{{ 1|divisibleby:0 }} SECRET"),
            "source: comment in a template": template(
                "{# SECRET #}{{ 1|divisibleby:0 }}"
            ),
        },
    ),
    (
        "log",
        AUTOMATIC,
        {
            "log: parameter of an error": lambda s: logger.error("Refused %s", s),
            "log: parameter of a warning": lambda s: logger.warning("Refused %s", s),
            "log: parameter of an info": lambda s: logger.info("Refused %s", s),
            "log: parameter, repr": lambda s: logger.error("Refused %r", [s]),
            "log: parameters as a dictionary": log_dictionary,
            "log: request as parameter and extra": log_request,
            "log: error with a traceback": log_exception,
            "log: security events": security_log,
            "log: name of the thread": log_in_thread,
            "log: stack_info": lambda s: logger.error("Stack", stack_info=True),
            "log: parameter of Sentry's logger": lambda s: api("logger.error")(
                "Refused {owner}", owner=s
            ),
        },
    ),
    (
        "log",
        DEVELOPER,
        {
            "log: f-string": lambda s: logger.error(f"Refused {s}"),
            "log: f-string of an info": lambda s: logger.info(f"Refused {s}"),
            "log: object as message": log_object,
            "log: exception as message": lambda s: logger.error(ValueError(s)),
            "log: name of the logger": lambda s: logging.getLogger(f"probe.{s}").error(
                "Refused"
            ),
            "log: extra": lambda s: logger.error("Refused", extra={"owner": s}),
            "log: extra password": lambda s: logger.error("x", extra={"password": s}),
            "log: nested extra": lambda s: logger.error("x", extra={"a": {"b": [s]}}),
            "log: Sentry's logger": lambda s: api("logger.info")(f"Refused {s}"),
            "log: attribute of Sentry's logger": lambda s: api("logger.info")(
                "Refused", attributes={"owner": s}
            ),
            "log: name of an attribute": lambda s: api("logger.info")(
                "Refused", attributes={f"owner {s}": 1}
            ),
            "message": lambda s: sentry_sdk.capture_message(f"Refused {s}"),
        },
    ),
    (
        "tags, extras, contexts",
        DEVELOPER,
        {
            "breadcrumb: message": lambda s: sentry_sdk.add_breadcrumb(message=s),
            "breadcrumb: data": lambda s: sentry_sdk.add_breadcrumb(data={"owner": s}),
            "breadcrumb: password": lambda s: sentry_sdk.add_breadcrumb(
                data={"new_password1": s}
            ),
            "breadcrumb: nested data": lambda s: sentry_sdk.add_breadcrumb(
                data={"a": [{"b": s}]}
            ),
            "breadcrumb: name in data": lambda s: sentry_sdk.add_breadcrumb(
                data={f"owner {s}": 1}
            ),
            "breadcrumb: category": lambda s: sentry_sdk.add_breadcrumb(category=s),
            "breadcrumb: type": lambda s: sentry_sdk.add_breadcrumb(type=s),
            "breadcrumb: URL": lambda s: sentry_sdk.add_breadcrumb(
                type="http", data={"url": f"http://a.example/{quote(s)}?key={quote(s)}"}
            ),
            "breadcrumb: query": lambda s: sentry_sdk.add_breadcrumb(
                category="query", message=f"SELECT '{s}'"
            ),
        },
    ),
    (
        "tags, extras, contexts",
        DEVELOPER,
        {
            "tag": scope("set_tag", "colour", "SECRET"),
            "tag: name": scope("set_tag", "SECRET", "1"),
            "tag: api_key": scope("set_tag", "api_key", "SECRET"),
        },
    ),
    (
        "tags, extras, contexts",
        DEVELOPER,
        {
            "extra": scope("set_extra", "colour", "SECRET"),
            "extra: password": scope("set_extra", "password", "SECRET"),
            "extra: otp": scope("set_extra", "otp", "SECRET"),
            "extra: apiKey": scope("set_extra", "apiKey", "SECRET"),
            "extra: nested": scope("set_extra", "a", {"b": [{"c": "SECRET"}]}),
            "extra: nested password": scope(
                "set_extra", "a", {"db_password": "SECRET"}
            ),
            "extra: passwords": scope(
                "set_extra", "passwords", ["SECRET", {"a": "SECRET"}]
            ),
            "extra: pairs": scope("set_extra", "pairs", [["password", "SECRET"]]),
            "extra: name": scope("set_extra", "SECRET", 1),
            "extra: nested name": scope("set_extra", "a", {"SECRET": 1}),
            "extra: query as text": scope("set_extra", "q", "a=1&token=SECRET"),
            "extra: JSON as text": lambda s: sentry_sdk.get_current_scope().set_extra(
                "text", json.dumps({"user": {"password": s}})
            ),
            "extra: JSON in JSON": lambda s: sentry_sdk.get_current_scope().set_extra(
                "text", json.dumps(json.dumps({"password": s}))
            ),
            "extra: object": extra_object,
            "extra: bytes": extra_bytes,
            "extra: request": extra_request,
            "extra: deep": deep_extra,
            "context": scope("set_context", "cart", {"colour": "SECRET"}),
            "context: password": scope("set_context", "cart", {"password": "SECRET"}),
            "context: nested": scope("set_context", "cart", {"a": [{"b": "SECRET"}]}),
            "context: name": scope("set_context", "SECRET", {"a": 1}),
            "context: runtime": scope(
                "set_context", "runtime", {"name": "x", "owner": "SECRET"}
            ),
            "context: response": scope(
                "set_context", "response", {"status_code": 1, "cookies": "SECRET"}
            ),
            "fingerprint": lambda s: setattr(
                sentry_sdk.get_current_scope(), "fingerprint", ["checkout", s]
            ),
        },
    ),
    (
        "user",
        DEVELOPER,
        {
            "user: id": scope("set_user", {"id": "SECRET"}),
            "user: username": scope("set_user", {"username": "SECRET"}),
        },
    ),
    (
        "user",
        AUTOMATIC,
        {
            "user: email": scope("set_user", {"id": 1, "email": "SECRET"}),
            "user: ip_address": scope("set_user", {"id": 1, "ip_address": "SECRET"}),
            "user: name": scope("set_user", {"id": 1, "name": "SECRET"}),
            "user: other fields": scope("set_user", {"id": 1, "plan": "SECRET"}),
            "user: geography": scope("set_user", {"id": 1, "geo": {"city": "SECRET"}}),
        },
    ),
    (
        "attachments",
        DEVELOPER,
        {
            "attachment: content": attachment(bytes="SECRET", filename="a.txt"),
            "attachment: name": attachment(filename="SECRET.txt"),
            "attachment: type": attachment(filename="a", content_type="x/SECRET"),
            "attachment: file": attached_file,
        },
    ),
    (
        "tags, extras, contexts",
        DEVELOPER,
        {
            "transaction: name": transaction_name,
            "transaction: of the developer": own_transaction,
            "span: name": lambda s: in_span(name=f"step {s}"),
            "span: op": lambda s: in_span(op=f"step.{s}"),
            "span: function": traced_function,
            "span: signal receiver": signal_receiver,
        },
    ),
    (
        "tags, extras, contexts",
        DEVELOPER,
        {
            "span data: text": lambda s: in_span(owner=s),
            "span data: list": lambda s: in_span(owners=[s, s]),
            "span data: password": lambda s: in_span(password=s),
            "span data: name": lambda s: in_span(**{s: 1}),
            "span data: key of a cache": lambda s: in_span(**{"cache.key": s}),
            "span data: URL": lambda s: in_span(**{"url.full": f"http://a/?t={s}"}),
            "span data: SQL": lambda s: in_span(**{"db.query.text": f"SELECT '{s}'"}),
            "span: HTTP call of the developer": lambda s: in_span(
                op="http.client",
                name=f"GET https://api.example/{quote(s)}?k={quote(s)}",
            ),
            "span: cache call of the developer": lambda s: in_span(
                op="cache.get", name=s
            ),
            "span: tag": span_tag,
            "span: status": span_status,
            "measurement: name": measurement,
            "scope attribute": lambda s: api("set_attribute")("owner", s),
            "scope attribute: name": lambda s: api("set_attribute")(f"owner {s}", 1),
        },
    ),
    (
        "tags, extras, contexts",
        DEVELOPER,
        {
            "metric: name": metric(name="orders.SECRET"),
            "metric: attribute": metric(colour="SECRET"),
            "metric: password": metric("gauge", password="SECRET"),
            "metric: name of an attribute": metric(**{"SECRET": 1}),
            "metric: unit": lambda s: api("metrics.distribution")("size", 1, unit=s),
        },
    ),
    (
        "session",
        AUTOMATIC,
        {"session: user": session},
    ),
    (
        "session",
        DEVELOPER,
        {
            "check-in: slug": check_in(monitor_slug="nightly-SECRET"),
            "check-in: schedule": check_in(
                monitor_slug="nightly",
                monitor_config={"schedule": {"type": "crontab", "value": "SECRET"}},
            ),
        },
    ),
    ("process", AUTOMATIC, {"profile: arguments": profiled}),
    ("tags, extras, contexts", DEVELOPER, {"flag: name": flag}),
) + [
    Channel(topic, name, kind, plant, digits=True)
    for topic, kind, plants in (
        (
            "SQL",
            AUTOMATIC,
            {
                "SQL: number": sql_number,
                "SQL: negative number": sql("SELECT -SECRET, .5, 1e3"),
            },
        ),
        (
            "log",
            AUTOMATIC,
            {
                "log: number as parameter": lambda s: logger.error(
                    "Refused %d", int(s)
                ),
                "log: number as parameter of an info": lambda s: logger.info(
                    "Refused %(a)d", {"a": int(s)}
                ),
                "log: number as parameter of Sentry's logger": lambda s: api(
                    "logger.info"
                )("Refused {number}", number=int(s)),
            },
        ),
        (
            "tags, extras, contexts",
            DEVELOPER,
            {
                "extra: pin as number": lambda s: scope("set_extra", "pin", int(s))(s),
                "extra: number": lambda s: scope("set_extra", "order", int(s))(s),
                "context: number": lambda s: scope("set_context", "a", {"b": int(s)})(
                    s
                ),
            },
        ),
        (
            "tags, extras, contexts",
            DEVELOPER,
            {"span data: number": lambda s: in_span(order=int(s))},
        ),
        (
            "stack trace",
            AUTOMATIC,
            {"frame: number": lambda s: argument(int(s))},
        ),
    )
    for name, plant in plants.items()
]


# What these leave on the scope must not be overwritten before an event takes it along.
ON_SCOPE = {"attachments", "tags, extras, contexts", "user"}


def plant_all(secret_of):
    """Run all plants; return the names of those that this SDK does not support.

    secret_of: called with a channel, returns its secret.
    """
    unsupported = []
    for number, channel in enumerate(CHANNELS):
        with sentry_sdk.new_scope():
            try:
                with span(name="plant"):
                    channel.plant(secret_of(channel))
            except Unsupported:
                unsupported.append(channel.name)
            except Exception:
                sentry_sdk.capture_exception()
            if channel.topic in ON_SCOPE or number % 10 == 0:
                sentry_sdk.capture_message("planted", level="error")
    return unsupported
