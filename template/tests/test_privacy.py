"""Nothing secret leaves. Add your own pages to PAGES, and errors to the views below.

The SDK is started as in production; only its last step, the network, is replaced by a
list. `sent` waits for everything a test caused and returns it as text.
"""

import logging

import pytest
import sentry_sdk
from django.apps import apps
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client, RequestFactory
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from sentry_sdk.transport import HttpTransport

from config.urls import urlpatterns as site_urls
from monitoring import config, sdk
from monitoring.redaction.patterns import Redactor
from monitoring.redaction.secrets import own_secrets

# With real transactions, since a request through WSGI takes its own connection.
pytestmark = pytest.mark.django_db(transaction=True)

PAGES = ["/", "/admin/login/", "/no-such-page/"]

# Where a visitor's secrets are in a request.
SECRET = "correct-horse-battery-staple"
HEADERS = {
    "authorization": f"Bearer {SECRET}",
    "cookie": f"sessionid={SECRET}; csrftoken={SECRET}",
    "referer": f"https://example.com/?token={SECRET}",
    "user-agent": SECRET,
    "x-api-key": SECRET,
    "x-forwarded-for": SECRET,
}
FORM = {"password": SECRET, "api_key": SECRET, "comment": SECRET}


@csrf_exempt
def failing_view(request, token):
    local_variable = request.POST["password"]  # noqa: F841
    key = request.POST["api_key"]
    logging.getLogger(__name__).info("paid with %s", key)
    sentry_sdk.set_tag("shop", "corner")
    sentry_sdk.set_extra("password", SECRET)
    raise RuntimeError(f"The bank refused {key=}")


urlpatterns = [*site_urls, path("pay/<token>/", failing_view)]


@pytest.fixture
def sent(settings, monkeypatch):
    """Start monitoring; return a function that returns all that was sent, as text."""
    envelopes = []

    def capture(transport, envelope):
        envelopes.append(envelope.serialize().decode())

    monkeypatch.setattr(HttpTransport, "capture_envelope", capture)
    settings.SENTRY_DSN = "https://public@sentry.example/1"
    settings.SENTRY_TRACES_SAMPLE_RATE = "1"
    settings.ROOT_URLCONF = __name__
    redactor = Redactor(config.load().policy, own_secrets())
    monkeypatch.setattr(apps.get_app_config("monitoring"), "redactor", redactor)
    sdk.init(config.load(), redactor)

    def text():
        sentry_sdk.flush()
        assert envelopes, "nothing was sent, so nothing is proven"
        return "\n".join(envelopes)

    with sentry_sdk.isolation_scope():
        yield text
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


def request(method, path, data, **headers):
    """Send a request through the WSGI application, as a server does."""
    factory = RequestFactory(headers=HEADERS | headers)
    environ = getattr(factory, method)(path, data).environ
    return b"".join(WSGIHandler()(environ, lambda status, headers: None))


@pytest.mark.parametrize("page", PAGES)
def test_what_a_visitor_sends_with_a_request_stays_here(sent, page):
    request("get", page, {"token": SECRET})
    request("post", page, FORM)
    assert SECRET not in sent()


def test_an_error_tells_what_happened_but_no_secret(sent):
    request("post", f"/pay/{SECRET}/", FORM)
    text = sent()
    assert SECRET not in text
    for useful in (
        "RuntimeError",
        "The bank refused key='[Filtered]'",
        "failing_view",
        "/pay/[Filtered]/",
        '"shop":"corner"',
        "paid with %s",
    ):
        assert useful in text


def test_secrets_of_the_process_are_recognised_anywhere(sent, settings):
    sentry_sdk.capture_message(f"Started with {settings.SECRET_KEY}, wrongly")
    assert settings.SECRET_KEY not in sent()
    assert "Started with [Filtered], wrongly" in sent()


def test_of_a_user_only_id_name_and_staff_status_are_sent(sent, django_user_model):
    user = django_user_model.objects.create_user("alice", "alice@example.com")
    client = Client()
    client.force_login(user)
    request(
        "post", "/pay/token/", FORM, cookie=client.cookies.output(header="").strip()
    )
    assert f'"user":{{"id":{user.pk},"username":"alice","is_staff":false}}' in sent()
    assert "alice@example.com" not in sent()
