import contextlib
import logging
import os
import urllib.request

import sentry_sdk
from django.contrib.auth import get_user_model, login
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters

from . import code as plants
from .process import SESSION, USER
from .secrets import secret

logger = logging.getLogger("probe")


def log_in(request, form):
    """Log in as the account of a form of secrets."""
    values = {field: secret(name, form) for field, name in USER.items()}
    user, _ = get_user_model().objects.get_or_create(
        username=f"alice-{form}", defaults=values | {"is_staff": True}
    )
    login(request, user)
    request.session["note"] = secret(SESSION, form)
    return JsonResponse({})


@csrf_exempt
@sensitive_post_parameters()
def fail(request, *args, **kwargs):
    with contextlib.suppress(Exception):
        len(request.FILES) + len(request.POST)
    with contextlib.suppress(Exception):
        len(request.body)
    request.session.get("note")
    logger.info("Logged for %s", request.COOKIES)
    raise RuntimeError("probe")


@csrf_exempt
async def fail_async(request):
    len(request.POST)
    raise RuntimeError("probe")


def upstream(request):
    """Call another service, as part of the visitor's trace."""
    urllib.request.urlopen(os.environ["PROBE_UPSTREAM"] + "/traced").read()
    raise RuntimeError("probe")


def gone(request, token):
    raise Http404(f"no {token}")


def forbidden(request, token):
    raise PermissionDenied(f"not {token}")


def slow(request, token):
    return JsonResponse({"sum": sum(len(token) for _ in range(600_000))})


def code(request, form):
    unsupported = plants.plant_all(lambda c: secret(c.name, form, c.digits))
    return JsonResponse({"unsupported": unsupported})


def kept(request):
    """Fail with everything that makes an issue easy to debug."""
    scope = sentry_sdk.get_isolation_scope()
    scope.set_tag("plan", "gold")
    scope.set_extra("cart", {"items": 3, "colours": ["red", "green"]})
    scope.set_context("cart", {"items": 3, "currency": "EUR"})
    sentry_sdk.add_breadcrumb(category="cart", message="opened the cart")
    with connection.cursor() as cursor:
        cursor.execute("SELECT \"id\" FROM accounts_user WHERE id = 7 AND 'x' = 'y'")
    cache.set("kept", 1)
    cache.get("kept")
    cache.get("not kept")
    with contextlib.suppress(OSError):
        urllib.request.urlopen(os.environ["PROBE_UPSTREAM"] + "/orders?page=2").read()
    logger.warning("The cart of %s is full", "alice")
    with plants.span(name="price the cart", op="cart"):
        pass
    sentry_sdk.metrics.count("orders", 2, attributes={"items": 3})
    raise ValueError("The bank refused order 1234 with password=swordfish")


def flush(request):
    """Send what is waiting, and with `?close` nothing more."""
    client = sentry_sdk.get_client()
    client.session_flusher.flush()
    client.flush(10)
    if "close" in request.GET:
        client.close(10)
    return JsonResponse({})
