"""Which requests are traced."""

from django.conf import settings

PROBES = ("/healthz/", "/readyz/")


def make_traces_sampler(rate):
    """Return a `traces_sampler` that traces a share `rate` (0 to 1) of the requests.

    Probes and static files are never traced. What the client asks for in its
    `sentry-trace` header does not count: it could ask for everything.
    """
    never = (*PROBES, settings.STATIC_URL, settings.MEDIA_URL)

    def traces_sampler(sampling_context):
        return 0.0 if path_of(sampling_context).startswith(never) else rate

    return traces_sampler


def path_of(sampling_context):
    if environ := sampling_context.get("wsgi_environ"):
        return environ.get("PATH_INFO") or ""
    if scope := sampling_context.get("asgi_scope"):
        return scope.get("path") or ""
    return ""
