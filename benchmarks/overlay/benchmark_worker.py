"""Runs inside the generated project, one process for each way of monitoring it.

    python benchmark_worker.py none|defaults|project|profiled RATE_OF_TRACES

Answers each line of standard input, a JSON list of a function and its arguments, with a
line of JSON. Times are seconds of CPU, of all threads.
"""

import gzip
import json
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace
from wsgiref.util import setup_testing_defaults

import django
from django import shortcuts
from django.apps import apps
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

DSN = "https://0123456789abcdef0123456789abcdef@sentry.example.com/1"
HEADERS = {
    "HTTP_HOST": "example.com",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,*/*;q=0.8",
    "HTTP_COOKIE": "csrftoken=b2kTQhXn3Wv8PzJ0; theme=dark",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101",
}
EXAMPLES = (
    ("db", 'SELECT "id", "name" FROM "shop_item" WHERE "id" = %d'),
    ("template.render", "shop/item_%d.html"),
    ("http.client", "GET https://stock.example.com/items/%d"),
)
dice = SimpleNamespace(traces=0.99, profiles=0.99)
sent = SimpleNamespace(body=b"")  # the last one that would have gone to Sentry


def hello(request):
    return HttpResponse("Hello")


def page(request):
    tables = [model.objects.all()[:10] for model in list(apps.get_models())[:6]]
    return shortcuts.render(request, "benchmark.html", {"tables": tables})


def error(request):
    """Report an error; answer with the CPU seconds that this took."""
    import benchmark_stack
    import sentry_sdk

    for number in range(50):
        op, message = EXAMPLES[number % 3]
        category = "query" if op == "db" else "shop.orders"
        sentry_sdk.add_breadcrumb(category=category, message=message % number)
    try:
        benchmark_stack.step_1(request, time.time_ns())
    except ValueError as exception:
        start = time.process_time()
        sentry_sdk.capture_exception(exception)
        return JsonResponse({"seconds": time.process_time() - start})


urlpatterns = [path("hello/", hello), path("page/", page), path("error/", error)]


def start_monitoring(kind, rate):
    """Return the CPU seconds that the start took, without the import of the SDK."""
    if kind == "none":
        return 0
    import sentry_sdk

    start = time.process_time()
    if kind == "defaults":
        options = {"traces_sample_rate": rate} if rate else {}
        sentry_sdk.init(DSN, release="1.0", environment="production", **options)
    else:
        settings.SENTRY_DSN = DSN
        settings.SENTRY_TRACES_SAMPLE_RATE = str(rate)
        settings.SENTRY_PROFILES_SAMPLE_RATE = "0.1" if kind == "profiled" else "0"
        apps.get_app_config("monitoring").ready()
    seconds = time.process_time() - start
    stub_network()
    return seconds


def stub_network():
    """Let the SDK do everything but send, and do it at once, where it is counted."""
    import urllib3
    from sentry_sdk import tracing, tracing_utils, transport, worker
    from sentry_sdk.profiler import transaction_profiler

    def request(self, method, endpoint_type, body, headers):
        sent.body = body
        return urllib3.HTTPResponse(status=200)

    transport.HttpTransport._request = request
    worker.BackgroundWorker.submit = lambda self, callback: callback() or True
    for module in (tracing, tracing_utils):
        module._generate_sample_rand = lambda *args, **kwargs: dice.traces
    transaction_profiler.random = SimpleNamespace(random=lambda: dice.profiles)


def transport():
    import sentry_sdk

    return sentry_sdk.get_client().transport


@contextmanager
def stopwatch(method):
    """Time the calls of a method of the transport. Yields an object with `seconds`."""
    original, watch = getattr(transport(), method), SimpleNamespace(seconds=0.0)

    def timed(*args):
        start = time.process_time()
        result = original(*args)
        watch.seconds += time.process_time() - start
        return result

    setattr(transport(), method, timed)
    yield watch
    delattr(transport(), method)


def get(path):
    """Make one request through the WSGI handler, and return the body."""
    environ = {"PATH_INFO": path, **HEADERS}
    setup_testing_defaults(environ)
    status = []
    response = application(environ, lambda line, headers: status.append(line))
    body = b"".join(response)
    response.close()
    assert status == ["200 OK"], (path, status)
    return body


def start_cost():
    return start_seconds


def request_cost(path, turn):
    """Ten requests: at traces 0.1, one is traced, and in one of ten turns profiled."""
    dice.profiles = turn % 10 / 10 + 0.05
    for number in range(10):  # the other processes have filled the processor's caches
        dice.traces = number / 10 + 0.05
        get(path)
    start = time.process_time()
    for number in range(10):
        dice.traces = number / 10 + 0.05
        get(path)
    return time.process_time() - start


def request_parts(path):
    """Seconds of ten turns in redaction, and in serialising and compressing."""
    with stopwatch("capture_envelope") as whole, stopwatch("_send_envelope") as sending:
        for turn in range(10):
            request_cost(path, turn)
    # Half of the requests warmed up.
    return (whole.seconds - sending.seconds) / 2, sending.seconds / 2


def error_cost():
    """Return (seconds, bytes of the envelope, bytes on the wire) of one error event."""
    dice.traces = 0.99
    seconds = json.loads(get("/error/"))["seconds"]
    return seconds, len(gzip.decompress(sent.body)), len(sent.body)


def recorded_envelopes():
    """Return what the SDK hands to the transport, one envelope of each kind."""
    import sentry_sdk

    envelopes = []
    transport().capture_envelope = envelopes.append
    get("/error/")
    with sentry_sdk.start_transaction(op="http.server", name="/orders/", sampled=True):
        for number in range(15):
            op, name = EXAMPLES[number % 3]
            with sentry_sdk.start_span(op=op, name=name % number):
                pass
    for number in range(20):
        sentry_sdk.logger.info("Item {number} is in stock", number=number)
        sentry_sdk.metrics.count("items", 1, attributes={"number": number})
    sentry_sdk.flush()
    del transport().capture_envelope
    return {envelope.items[0].type: envelope for envelope in envelopes}


def redaction_cost(count):
    """Return {type: (seconds of redaction, seconds to serialise + compress unredacted)}."""
    costs = {}
    for _ in range(count):  # each time with other ids and times, as in life
        for name, envelope in recorded_envelopes().items():
            own = transport()
            with (
                stopwatch("capture_envelope") as whole,
                stopwatch("_send_envelope") as rest,
            ):
                own.capture_envelope(envelope)
            with stopwatch("_serialize_envelope") as baseline:
                own._serialize_envelope(envelope)
            row = whole.seconds - rest.seconds, baseline.seconds
            costs.setdefault(name, []).append(row)
    return {
        name: [min(c) for c in zip(*rows, strict=True)] for name, rows in costs.items()
    }


if __name__ == "__main__":
    django.setup()
    settings.ROOT_URLCONF = "__main__"
    # Opening the file anew for each request is mostly noise.
    settings.DATABASES["default"]["CONN_MAX_AGE"] = None
    start_seconds = start_monitoring(sys.argv[1], float(sys.argv[2]))
    application = get_wsgi_application()
    for line in sys.stdin:
        function, *args = json.loads(line)
        print(json.dumps(globals()[function](*args)), flush=True)
