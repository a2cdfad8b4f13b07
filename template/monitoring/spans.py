"""Times a piece of your own work."""

from contextlib import contextmanager

from django.apps import apps


@contextmanager
def span(op, name):
    """Time a block, or as a decorator each call of a function.

    In a request that is traced, it is a span of its trace; elsewhere, such as in a
    command, a trace of its own, at the rate of SENTRY_TRACES_SAMPLE_RATE. It does
    nothing while monitoring is off.

    op: the kind of work, such as "task" or "function". name: what is done, without
    personal data: what is alike is grouped by it.
    """
    if not apps.get_app_config("monitoring").redactor:
        yield
        return
    import sentry_sdk

    from .tracing import child_span, current_span

    # This version of the SDK drops a span that has no trace.
    start = child_span if current_span() else sentry_sdk.start_transaction
    with start(op=op, name=name):
        yield
