"""Spans, and what the requests without them are spared."""

from contextlib import contextmanager
from functools import wraps

import sentry_sdk
from django.core.handlers.base import BaseHandler
from django.db.backends.utils import CursorWrapper


@contextmanager
def spared():
    """Make what the SDK hooks into Django cheaper: it is started in this context."""
    load_middleware = BaseHandler.load_middleware
    make_view_atomic = BaseHandler.make_view_atomic
    yield
    # The SDK would wrap each method of each middleware, even to make no spans of them.
    BaseHandler.load_middleware = load_middleware
    # It would wrap the view anew in each request, for the span of it.
    BaseHandler.make_view_atomic = if_traced(
        BaseHandler.make_view_atomic, make_view_atomic
    )
    for name in ("execute", "executemany"):
        hook = getattr(CursorWrapper, name)
        if original := getattr(hook, "__wrapped__", None):
            setattr(CursorWrapper, name, if_traced(hook, noted(original)))


def if_traced(hook, original):
    """Return a function that is the SDK's `hook` in what is traced, or else `original`."""

    @wraps(original)
    def chosen(*args, **kwargs):
        return (hook if is_traced() else original)(*args, **kwargs)

    return chosen


def noted(execute):
    """Return `execute` for queries that leave no span but a breadcrumb."""

    @wraps(execute)
    def execute_noted(self, sql, *args, **kwargs):
        sentry_sdk.add_breadcrumb(category="query", message=sql)
        return execute(self, sql, *args, **kwargs)

    return execute_noted


def is_traced():
    """Whether the trace of what is going on will be sent."""
    span = current_span()
    return bool(span and span.sampled)


def current_span():
    scope = sentry_sdk.get_current_scope()
    return scope.span or getattr(scope, "streamed_span", None)


def child_span(op, name):
    """Return a span, to be used as a context, within the current one."""
    parent = current_span()
    if hasattr(parent, "start_child"):
        return parent.start_child(op=op, name=name)
    # A trace whose spans are sent one by one, as those of SDK 3 are.
    return sentry_sdk.traces.start_span(name=name, attributes={"sentry.op": op})
