import logging

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import DatabaseError
from django.test import AsyncClient, Client
from django.urls import path

from config import health
from config.request_id import RequestIdFilter
from config.urls import urlpatterns as site_urls


def raises(error):
    def view(request):
        raise error

    return view


handler500 = "config.errors.server_error"
urlpatterns = [
    *site_urls,
    path("forbidden/", raises(PermissionDenied())),
    path("suspicious/", raises(SuspiciousOperation("odd\nforged line \x1b[31m"))),
    path("broken/", raises(RuntimeError("broken"))),
]


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_superuser("alice", password="open sesame")


@pytest.fixture
def broken_urls(settings):
    settings.ROOT_URLCONF = __name__


def test_home_page_shows_the_name_of_the_project(client, settings):
    settings.PROJECT_NAME = 'Tom & "Jerry"'
    response = client.get("/")
    assert response.status_code == 200
    assert "<h1>Tom &amp; &quot;Jerry&quot;</h1>" in response.content.decode()


@pytest.mark.django_db
def test_superuser_reaches_the_user_admin(client, user):
    client.force_login(user)
    assert "alice" in client.get("/admin/accounts/user/").content.decode()


@pytest.mark.parametrize(
    ("url", "status", "title"),
    [
        ("/suspicious/", 400, "Bad request"),
        ("/forbidden/", 403, "No access"),
        ("/nowhere/", 404, "Page not found"),
        ("/broken/", 500, "Something went wrong"),
    ],
)
def test_errors_have_their_own_page(broken_urls, url, status, title):
    response = Client(raise_request_exception=False).get(url)
    assert response.status_code == status
    assert f"<h1>{title}</h1>" in response.content.decode()


def test_error_page_response_and_log_share_a_reference(broken_urls, caplog):
    response = Client(raise_request_exception=False).get("/broken/")
    reference = response.headers["X-Request-ID"]
    assert len(reference) == 32
    assert reference in response.content.decode()
    RequestIdFilter().filter(record := caplog.records[-1])
    assert record.name == "django.request"
    assert record.request_id == reference


def test_visitors_do_not_choose_the_id_of_their_request(client):
    sent = "0123456789abcdef0123456789abcdef"
    response = client.get("/", headers={"x-request-id": sent})
    assert response.headers["X-Request-ID"] != sent


def test_requests_have_an_id_under_asgi():
    response = async_to_sync(AsyncClient().get)("/")
    assert len(response.headers["X-Request-ID"]) == 32


# --- Probes ---------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["/healthz/", "/readyz/"])
def test_probes_need_neither_a_known_host_nor_https(client, settings, url):
    settings.SECURE_SSL_REDIRECT = True
    response = client.get(url, headers={"host": "10.1.2.3"})
    assert response.status_code == 200
    assert response.json()["status"] == "ok"


@pytest.mark.django_db(transaction=True)
def test_probes_answer_under_asgi():
    response = async_to_sync(AsyncClient().get)("/readyz/")
    assert response.status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("part", ["database", "cache"])
def test_readyz_names_the_part_that_is_down(client, monkeypatch, part):
    def fail():
        raise DatabaseError("no route to host")

    monkeypatch.setitem(health.PARTS, part, fail)
    response = client.get("/readyz/")
    assert response.status_code == 503
    assert response.json() == {
        "status": "unavailable",
        "database": "ok",
        "cache": "ok",
        part: "down",
    }


# --- Security log ---------------------------------------------------------------------


@pytest.mark.django_db
def test_logins_and_logouts_are_logged(client, user, security_log):
    login = {"username": "alice", "password": "wrong"}
    client.post("/admin/login/", login)
    client.post("/admin/login/", login | {"password": "open sesame"})
    client.post("/admin/logout/")
    events = [line.split(": ")[1].split()[0:2] for line in security_log()]
    assert events == [
        ["failed", "login"],
        ["login", 'user="alice"'],
        ["logout", 'user="alice"'],
    ]
    assert all('ip="127.0.0.1"' in line for line in security_log())


@pytest.mark.django_db
def test_refused_requests_are_logged(broken_urls, security_log):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.get("/forbidden/")
    client.get("/suspicious/")
    client.post("/admin/login/", {"username": "alice"})
    client.get("/", headers={"host": "evil.example"})
    client.get("/nowhere/")
    names = [line.split()[2] for line in security_log()]
    assert names == [
        "django.request:",
        "django.security.SuspiciousOperation:",
        "django.security.csrf:",
        "django.security.DisallowedHost:",
    ]


def test_an_event_is_one_line_that_nobody_can_forge(broken_urls, security_log):
    Client().get("/suspicious/?next=%0a", headers={"x-forwarded-for": '1\n2"\u2028'})
    (line,) = security_log()
    assert r"odd\nforged line \x1b[31m" in line
    assert r'forwarded_for="1\n2\"\u2028"' in line


def test_security_events_go_to_the_console_while_the_file_cannot_be_written(
    tmp_path, broken_urls, security_log, capsys, caplog
):
    (tmp_path / "logs").write_text("a file where the folder should be")
    for _ in range(2):
        Client().get("/suspicious/")
    assert capsys.readouterr().err.count("SuspiciousOperation: odd") == 2
    assert caplog.text.count("cannot be written") == 1
    (tmp_path / "logs").unlink()
    Client().get("/suspicious/")
    assert len(security_log()) == 1


def test_errors_of_the_site_are_no_security_events(broken_urls, security_log):
    Client(raise_request_exception=False).get("/broken/")
    assert security_log() == []
    assert logging.getLogger("django.request").propagate
