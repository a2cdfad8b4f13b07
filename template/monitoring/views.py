"""The debug endpoint: fails on request, to see that errors arrive."""

import logging
import secrets
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.http import Http404, JsonResponse
from django.shortcuts import render
from django.template import Context, Template
from django.utils.decorators import decorator_from_middleware
from django.utils.deprecation import MiddlewareMixin

from . import config

logger = logging.getLogger(__name__)


def division():
    """A division by zero."""
    return 1 / 0


def value():
    """A ValueError."""
    raise ValueError("This is a test error of the debug endpoint.")


def api_key():
    """An error with an API key in it, which must arrive redacted."""
    raise PermissionError(f"Failed to authenticate with key: {secrets.token_hex(32)}")


def database():
    """A query of a table that does not exist."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM monitoring_no_such_table")


def template():
    """A template that uses a filter which fails."""
    return Template("{{ number|divisibleby:0 }}").render(Context({"number": 1}))


class FailingMiddleware(MiddlewareMixin):
    def process_request(self, request):
        raise RuntimeError("This is a test error of a middleware.")


@decorator_from_middleware(FailingMiddleware)
def in_middleware(request):
    """An error of a middleware."""


def log():
    """An error that is logged, not raised."""
    logger.error("This is a test error of the log, number %d", 1)


def slow_query():
    """A query of about half a second, for the traces."""
    statement = {
        "postgresql": "SELECT pg_sleep(0.5)",
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 3000000) SELECT count(*) FROM n",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(statement)


def cache_spans():
    """A cache miss and a cache hit, for the traces."""
    cache.delete("sentry-test")
    cache.get("sentry-test")
    cache.set("sentry-test", "value", timeout=10)
    cache.get("sentry-test")


TYPES = {
    "division": division,
    "value": value,
    "api_key": api_key,
    "database": database,
    "template": template,
    "middleware": in_middleware,
    "logging": log,
    "slow_query": slow_query,
    "cache": cache_spans,
}


def index(request):
    """Show the state of monitoring, and a button for each type of error."""
    if not settings.DEBUG:
        raise Http404
    context = {"types": [(n, summary(function)) for n, function in TYPES.items()]}
    try:
        context["config"] = loaded = config.load()
        context["facts"] = {
            "Errors go to": urlsplit(loaded.dsn).netloc.rpartition("@")[2],
            "Environment": loaded.environment,
            "Release": loaded.release,
            "Requests traced": f"{100 * loaded.traces_sample_rate:g} %",
            "Of those profiled": f"{100 * loaded.profiles_sample_rate:g} %",
        }
    except config.ConfigError as error:
        context["problem"] = str(error)
    return render(request, "monitoring/debug.html", context)


def summary(function):
    return " ".join(function.__doc__.split())


def sentry_test(request):
    """Fail in the way `?type=` says; answer 200 for the types that do not raise."""
    if not settings.DEBUG:
        raise Http404
    name = request.GET.get("type")
    if name not in TYPES:
        return JsonResponse(
            {"error": "Choose one of these for ?type=", "types": sorted(TYPES)},
            status=400,
        )
    if name == "middleware":
        in_middleware(request)
    else:
        TYPES[name]()
    return JsonResponse({"type": name, "done": summary(TYPES[name])})
