"""Gives each request an id, which its log lines, its response and its error page show.

The id is always made here: if a visitor could choose it, he could pass his errors off as
those of somebody else.
"""

import logging
import uuid
from contextvars import ContextVar

from asgiref.sync import iscoroutinefunction
from django.utils.decorators import sync_and_async_middleware

request_id = ContextVar("request_id", default="-")


@sync_and_async_middleware
def middleware(get_response):
    """Set `request.id`, 32 hexadecimal digits, and the header `X-Request-ID`."""

    def start(request):
        request.id = uuid.uuid4().hex
        request_id.set(request.id)

    def finish(request, response):
        response["X-Request-ID"] = request.id
        return response

    if iscoroutinefunction(get_response):

        async def handle(request):
            start(request)
            return finish(request, await get_response(request))

    else:

        def handle(request):
            start(request)
            return finish(request, get_response(request))

    return handle


class RequestIdFilter(logging.Filter):
    """Gives a log record the `request_id` it belongs to, or "-"."""

    def filter(self, record):
        record.request_id = request_id.get()
        return True
