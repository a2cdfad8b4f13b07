"""Answers the probes of containers and load balancers.

`/healthz/`: the process is up. `/readyz/`: the database and the cache answer, too; if
not, the status is 503 and the body names the part that is down.
"""

import logging

from django.core.cache import cache
from django.db import connection
from django.http import JsonResponse
from django.utils.deprecation import MiddlewareMixin

logger = logging.getLogger(__name__)


def check_database():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def check_cache():
    cache.set("readyz", "ok", timeout=10)
    if cache.get("readyz") != "ok":
        raise ConnectionError("the cache does not return what it was given")


PARTS = {"database": check_database, "cache": check_cache}


class HealthCheckMiddleware(MiddlewareMixin):
    """Comes first of all: a probe calls by IP address and without TLS, which the host
    check and the redirect to HTTPS would refuse."""

    def process_request(self, request):
        if request.path == "/healthz/":
            return JsonResponse({"status": "ok"})
        if request.path == "/readyz/":
            return self.readiness()
        return None

    def readiness(self):
        parts = {}
        for name, check in PARTS.items():
            try:
                check()
                parts[name] = "ok"
            except Exception as error:
                logger.warning("/readyz/: the %s is down: %s", name, error)
                parts[name] = "down"
        ready = set(parts.values()) == {"ok"}
        return JsonResponse(
            {"status": "ok" if ready else "unavailable", **parts},
            status=200 if ready else 503,
        )
