"""Tells Sentry which request an event belongs to, and whose it was."""

import time
from copy import copy
from functools import partial
from types import SimpleNamespace

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.wsgi import WSGIRequest
from django.db import InterfaceError, OperationalError, connection
from django.http.request import HttpHeaders
from django.utils.functional import SimpleLazyObject

# Seconds in which no user is looked up, after the database has failed in that.
PAUSE = 60


class SentryContextMiddleware:
    """Adds the user and the request's tags to the events of a request.

    It stands outside of all other middleware, so that their errors are described too,
    and looks at the user only when there is an event: requests pay next to nothing.
    """

    sync_capable = True
    async_capable = True
    no_database_until = 0.0

    def __init__(self, get_response):
        self.redactor = apps.get_app_config("monitoring").redactor
        if self.redactor is None:
            raise MiddlewareNotUsed("monitoring is off")
        # Here, since without a DSN the SDK is not even imported.
        import sentry_sdk

        from . import tracing

        self.sentry_sdk, self.tracing = sentry_sdk, tracing
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)
            self.process_view = self.process_view_async

    def __call__(self, request):
        scope = self.sentry_sdk.get_isolation_scope()
        scope.add_event_processor(partial(self.describe, request))
        if self.tracing.is_traced():
            name = "middleware before the view"
            span = self.tracing.child_span("middleware.django", name)
            request.middleware_span = span.__enter__()
        return self.get_response(request)

    def process_view(self, request, *args):
        """End the span of all the middleware, in which its queries are seen."""
        if span := getattr(request, "middleware_span", None):
            span.__exit__(None, None, None)

    async def process_view_async(self, *args):
        """Spares async requests the way to another thread and back."""
        type(self).process_view(self, *args)

    def process_exception(self, request, exception):
        """Load the user while it can be done: after the view, before the report."""
        self.load_user(request, exception)

    def load_user(self, request, exception):
        """Make the user known to `known_user`, unless the database is what failed."""
        if (
            hasattr(request, "user_of_events")
            or connection.needs_rollback
            or is_outage(exception)
            or time.monotonic() < self.no_database_until
        ):
            return
        # Before the attempt, which may log an error that is an event itself.
        request.user_of_events = None
        try:
            request.user_of_events = find_user(request)
        except Exception as error:
            # The event matters more than the name on it.
            if is_outage(error):
                self.no_database_until = time.monotonic() + PAUSE

    def describe(self, request, event, hint):
        """The event processor, called for each error and transaction of `request`."""
        exception = (hint.get("exc_info") or (None, None))[1]
        # Under ASGI this may run in the event loop, where no query may be made.
        if event.get("type") != "transaction" and isinstance(request, WSGIRequest):
            self.load_user(request, exception)
        if user := known_user(request):
            event["user"] = {
                "id": user.pk if isinstance(user.pk, int) else str(user.pk),
                "username": user.get_username(),
                "is_staff": getattr(user, "is_staff", False),
            }
        headers = event.setdefault("request", {}).setdefault("headers", {})
        for name in self.redactor.policy.allowed_headers:
            if (key := HttpHeaders.to_wsgi_name(name)) in request.META:
                headers[name] = request.META[key]
        event["tags"] = dict(event.get("tags") or {}) | {
            "request_path": self.redactor.path(request.path, request.resolver_match),
            "request_method": request.method,
            "storage_backend": settings.STORAGES["default"]["BACKEND"].split(".")[-1],
        }
        if request_id := getattr(request, "id", None):
            event["tags"]["request_id"] = request_id
            if is_unhandled(event) and not getattr(request, "reported", False):
                # The dashboard finds what the error page shows as its reference.
                event["event_id"] = request_id
                request.reported = True
        return event


def is_unhandled(event):
    """Whether this is the event of an error that nobody caught."""
    return any(
        (value.get("mechanism") or {}).get("handled") is False
        for value in (event.get("exception") or {}).get("values") or []
    )


class Snapshot(dict):
    """What a session holds, for reading: what is done to it changes no session."""

    def flush(self):
        self.clear()

    def cycle_key(self):
        pass


def find_user(request):
    """Return the logged-in user or None, and leave no trace in request and session.

    To look at `request.user` could end the session, and would hide from Django that a
    view looks at it later: the response would not vary by cookie.
    """
    if not hasattr(request, "session") or not hasattr(request, "user"):
        return None
    if user := known_user(request):
        return user
    return get_user(SimpleNamespace(session=Snapshot(copy(request.session).items())))


def is_outage(error):
    """Whether the database does not answer, at the bottom of an exception."""
    for _ in range(10):  # An error can be its own cause.
        if isinstance(error, (InterfaceError, OperationalError)):
            return True
        error = error and (error.__cause__ or error.__context__)
    return False


def known_user(request):
    """Return the logged-in user, or None; makes no query."""
    user = getattr(request, "user", None)
    if isinstance(user, SimpleLazyObject):
        known = vars(request)
        names = ("_cached_user", "_acached_user", "user_of_events")
        user = next(filter(None, map(known.get, names)), None)
    return user if user is not None and user.is_authenticated else None
