"""Channels that a visitor fills: what the parts of a request bring."""

import json
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from .channels import AUTOMATIC, DEVELOPER, Channel

BOUNDARY = "----probe"
TRACE_ID = "0123456789abcdef0123456789abcdef"


@dataclass
class Request:
    """An HTTP request in the making. `path` is already quoted."""

    path: str
    method: str = "GET"
    content_type: str = ""
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)
    baggage: list[str] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    document: dict = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    body: bytes = b""

    def encoded(self):
        """Return (method, target, headers, body)."""
        target = self.path + ("?" + urlencode(self.query) if self.query else "")
        body = self.body
        if self.fields:
            body = urlencode(self.fields).encode()
        elif self.document:
            body = json.dumps(self.document).encode()
        elif self.parts:
            body = "".join(
                f"--{BOUNDARY}\r\nContent-Disposition: form-data; {part}\r\n"
                for part in self.parts
            ).encode() + (f"--{BOUNDARY}--\r\n".encode())
        headers = [("Content-Length", str(len(body))), *self.headers]
        if self.content_type:
            headers.append(("Content-Type", self.content_type))
        if self.cookies:
            headers.append(("Cookie", "; ".join(self.cookies)))
        if self.baggage:
            headers.append(("Baggage", ",".join(self.baggage)))
        return self.method, target, headers, body


# Each channel changes one of these; they are sent in this order.
REQUESTS = {
    "form": lambda: Request(
        "/probe/fail/", "POST", content_type="application/x-www-form-urlencoded"
    ),
    "async form": lambda: Request(
        "/probe/fail-async/", "POST", content_type="application/x-www-form-urlencoded"
    ),
    "json": lambda: Request("/probe/fail/", "POST", content_type="application/json"),
    "text": lambda: Request("/probe/fail/", "POST", content_type="text/plain"),
    "multipart": lambda: Request(
        "/probe/fail/", "POST", content_type=f"multipart/form-data; boundary={BOUNDARY}"
    ),
    "broken form": lambda: Request("/probe/fail/", "POST", content_type="multipart/x"),
    "content type": lambda: Request("/probe/fail/", "PUT", body=b"?"),
    "method": lambda: Request("/probe/fail/"),
    "host": lambda: Request("/probe/fail/"),
    "forwarded host": lambda: Request("/probe/fail/"),
    "traced": lambda: Request(
        "/probe/upstream/",
        headers=[("Sentry-Trace", f"{TRACE_ID}-0123456789abcdef-1")],
        baggage=[f"sentry-trace_id={TRACE_ID}", "sentry-sampled=true"],
    ),
    "badly traced": lambda: Request("/probe/fail/"),
    "unknown": lambda: Request("/unknown"),
    "unknown, encoded": lambda: Request("/unknown"),
    "static file": lambda: Request("/static"),
    "token": lambda: Request("/probe/token"),
    "included": lambda: Request("/probe"),
    "unnamed": lambda: Request("/probe/unnamed"),
    "converted": lambda: Request("/probe/converted"),
    "tail": lambda: Request("/probe/tail"),
    "item": lambda: Request("/probe/item"),
    "gone": lambda: Request("/probe/gone"),
    "forbidden": lambda: Request("/probe/forbidden"),
    "slow": lambda: Request("/probe/slow"),
}


def header(name, value="SECRET"):
    return lambda request, secret: request.headers.append(
        (name, value.replace("SECRET", secret))
    )


def query(name, value="SECRET"):
    return lambda request, secret: request.query.append(
        (name.replace("SECRET", secret), value.replace("SECRET", secret))
    )


def cookie(text):
    return lambda request, secret: request.cookies.append(
        text.replace("SECRET", quote(secret))
    )


def baggage(member):
    return lambda request, secret: request.baggage.append(
        member.replace("SECRET", quote(secret))
    )


def form(name, value="SECRET"):
    return lambda request, secret: request.fields.append(
        (name.replace("SECRET", secret), value.replace("SECRET", secret))
    )


def document(value):
    return lambda request, secret: request.document.update(
        json.loads(json.dumps(value).replace("SECRET", secret))
    )


def part(text):
    return lambda request, secret: request.parts.append(text.replace("SECRET", secret))


def path(text):
    def plant(request, secret):
        request.path += text.replace("SECRET", quote(secret, safe=""))

    return plant


def percent_encoded(request, secret):
    request.path += "/" + "".join(f"%{ord(letter):02x}" for letter in secret) + "/"


def body(request, secret):
    request.body = secret.encode()


def method(request, secret):
    request.method = "".join(letter for letter in secret if letter.isalnum()).upper()


def content_type(value):
    def plant(request, secret):
        request.content_type += value.replace("SECRET", secret)

    return plant


ROWS = [
    (
        "request",
        AUTOMATIC,
        "form",
        {
            f"header {name}": header(name, value)
            for name, value in {
                "Authorization": "Bearer SECRET",
                "Proxy-Authorization": "Basic SECRET",
                "X-Api-Key": "SECRET",
                "Api-Key": "SECRET",
                "X-Auth-Token": "SECRET",
                "X-Access-Token": "SECRET",
                "X-Session-Token": "SECRET",
                "X-CSRFToken": "SECRET",
                "X-XSRF-Token": "SECRET",
                "X-Amz-Security-Token": "SECRET",
                "X-Goog-Iap-Jwt-Assertion": "SECRET",
                "X-Ms-Client-Principal": "SECRET",
                "X-Vault-Token": "SECRET",
                "Private-Token": "SECRET",
                "DPoP": "SECRET",
                "Signature": "sig1=:SECRET:",
                "Cf-Access-Jwt-Assertion": "SECRET",
                "Cf-Connecting-Ip": "SECRET",
                "True-Client-Ip": "SECRET",
                "Fastly-Client-Ip": "SECRET",
                "X-Client-Ip": "SECRET",
                "X-Real-Ip": "SECRET",
                "X-Forwarded-For": "SECRET, 10.0.0.1",
                "X-Forwarded-User": "SECRET",
                "X-Forwarded-Email": "SECRET",
                "X-Forwarded-Uri": "/?token=SECRET",
                "Forwarded": "for=SECRET;proto=http",
                "Remote-User": "SECRET",
                "From": "SECRET",
                "Referer": "https://example.org/reset/SECRET/?token=SECRET",
                "Origin": "https://SECRET.example.org",
                "User-Agent": "Mozilla/5.0 (SECRET)",
                "Via": "1.1 SECRET",
                "Accept": "text/html; q=SECRET",
                "Accept-Language": "de; q=SECRET",
                "If-None-Match": '"SECRET"',
                "If-Match": '"SECRET"',
                "Range": "bytes=SECRET",
                "X-Request-Id": "SECRET",
                "X-Correlation-Id": "SECRET",
                "Idempotency-Key": "SECRET",
                "X-Device-Id": "SECRET",
                "X-Original-Url": "/reset/SECRET/",
                "X-Hub-Signature-256": "sha256=SECRET",
                "Stripe-Signature": "t=1,v1=SECRET",
                "X-Slack-Signature": "v0=SECRET",
                "X-Gitlab-Token": "SECRET",
                "X-Twilio-Signature": "SECRET",
                "X-Shopify-Hmac-Sha256": "SECRET",
                "Svix-Signature": "v1,SECRET",
                "Paypal-Transmission-Sig": "SECRET",
                "X-Nobody-Knows": "SECRET",
                "Tracestate": "vendor=SECRET",
                "Uber-Trace-Id": "SECRET",
                "X-B3-Traceid": "SECRET",
            }.items()
        },
    ),
    (
        "request",
        AUTOMATIC,
        "async form",
        {
            "header Authorization, async view": header("Authorization", "Token SECRET"),
            "header User-Agent, async view": header("User-Agent"),
            "header X-Nobody-Knows, async view": header("X-Nobody-Knows"),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "content type",
        {
            "header Content-Type": content_type("application/SECRET"),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "text",
        {
            "parameter of header Content-Type": content_type(
                "; charset=utf-8; key=SECRET"
            ),
        },
    ),
    (
        "outgoing HTTP",
        AUTOMATIC,
        "traced",
        {
            "baggage: a Sentry member": baggage("sentry-user_segment=SECRET"),
            "baggage: environment": baggage("sentry-environment=SECRET"),
            "baggage: release": baggage("sentry-release=SECRET"),
            "baggage: transaction": baggage("sentry-transaction=SECRET"),
            "baggage: public key": baggage("sentry-public_key=SECRET"),
            "baggage: sampling": baggage("sentry-sample_rate=SECRET"),
            "baggage: another vendor's member": baggage("account=SECRET"),
            "baggage: property of a member": baggage("a=1;owner=SECRET"),
        },
    ),
    (
        "outgoing HTTP",
        AUTOMATIC,
        "badly traced",
        {
            "sentry-trace, malformed": header("Sentry-Trace"),
            "traceparent, malformed": header("Traceparent"),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "form",
        {
            "query: token": query("token"),
            "query: ordinary name": query("colour"),
            "query: name of a parameter": query("SECRET", "1"),
            "query: nested name": query("filter[owner]"),
            "query: URL as value": query("next", "https://example.org/?code=SECRET"),
            "query: JSON as value": query("state", '{"code": "SECRET"}'),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "async form",
        {
            "query: token, async view": query("token"),
            "query: ordinary name, async view": query("colour"),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "unknown",
        {
            "query: unknown path": query("colour"),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "form",
        {
            "form: password": form("password"),
            "form: api-key": form("api-key"),
            "form: ordinary name": form("colour"),
            "form: name of a field": form("SECRET", "1"),
            "form: nested name": form("address[street]"),
            "form: JSON as value": form("data", '{"pin": "SECRET"}'),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "async form",
        {
            "form: password, async view": form("password"),
            "form: ordinary name, async view": form("colour"),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "json",
        {
            "JSON: password": document({"password": "SECRET"}),
            "JSON: ordinary name": document({"colour": "SECRET"}),
            "JSON: nested": document({"card": {"owner": {"name": "SECRET"}}}),
            "JSON: nested password": document({"login": {"new_password1": "SECRET"}}),
            "JSON: in a list": document({"list": [{"a": ["SECRET"]}]}),
            "JSON: name of a member": document({"SECRET": 1}),
            "JSON: JSON as text": document({"text": '{\\"pin\\": \\"SECRET\\"}'}),
        },
    ),
    ("request", AUTOMATIC, "text", {"body: plain text": body}),
    ("request", AUTOMATIC, "broken form", {"body: malformed": body}),
    (
        "request",
        AUTOMATIC,
        "multipart",
        {
            "multipart: password": part('name="password"\r\n\r\nSECRET'),
            "multipart: ordinary field": part('name="colour"\r\n\r\nSECRET'),
            "multipart: name of a field": part('name="SECRET"\r\n\r\n1'),
            "multipart: name of a file": part(
                'name="photo"; filename="SECRET.txt"\r\n\r\n1'
            ),
            "multipart: content of a file": part(
                'name="notes"; filename="notes.txt"\r\n\r\nSECRET'
            ),
            "multipart: type of a file": part(
                'name="raw"; filename="raw"\r\nContent-Type: x/SECRET\r\n\r\n1'
            ),
            "multipart: JSON file": part(
                'name="key"; filename="key.json"\r\nContent-Type: application/json\r\n\r\n'
                '{"private_key": "SECRET"}'
            ),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "form",
        {
            "cookie: session of another site": cookie("PHPSESSID=SECRET"),
            "cookie: ordinary name": cookie("colour=SECRET"),
            "cookie: name of a cookie": cookie("SECRET=1"),
            "cookie: csrftoken": cookie("csrftoken=SECRET"),
            "cookie: remember me": cookie("remember_token=SECRET"),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "async form",
        {
            "cookie: ordinary name, async view": cookie("colour=SECRET"),
        },
    ),
    (
        "path",
        AUTOMATIC,
        "unknown",
        {
            "path: no route, token at the end": path("/reset/SECRET/"),
        },
    ),
    (
        "path",
        AUTOMATIC,
        "unknown, encoded",
        {
            "path: no route, percent-encoded": percent_encoded,
        },
    ),
    (
        "path",
        AUTOMATIC,
        "static file",
        {
            "path: static file": path("/SECRET.css"),
        },
    ),
    (
        "path",
        AUTOMATIC,
        "token",
        {
            "path: argument `token`": path("/SECRET/"),
        },
    ),
    (
        "path",
        AUTOMATIC,
        "included",
        {
            "path: argument `api_key` before an include": path("/SECRET/included/"),
        },
    ),
    (
        "path",
        AUTOMATIC,
        "unnamed",
        {
            "path: argument without a name": path("/SECRET/"),
        },
    ),
    (
        "path",
        AUTOMATIC,
        "converted",
        {
            "path: argument `secret` that a converter rewrites": path("/SECRET/"),
        },
    ),
    (
        "path",
        AUTOMATIC,
        "tail",
        {
            "path: argument `session` of several parts": path("/SECRET/x/y/"),
        },
    ),
    (
        "path",
        AUTOMATIC,
        "gone",
        {
            "path: argument `token` of a page that is not found": path("/SECRET/"),
        },
    ),
    (
        "path",
        AUTOMATIC,
        "forbidden",
        {
            "path: argument `token` of a page that is forbidden": path("/SECRET/"),
        },
    ),
    (
        "path",
        AUTOMATIC,
        "slow",
        {
            "path: argument `token` of a page that is profiled": path("/SECRET/"),
        },
    ),
    (
        "path",
        DEVELOPER,
        "item",
        {
            "path: argument with an ordinary name": path("/SECRET/"),
        },
    ),
    ("request", AUTOMATIC, "method", {"method": method}),
    (
        "request",
        AUTOMATIC,
        "host",
        {
            "header Host": header("Host", "SECRET.example.org"),
        },
    ),
    (
        "request",
        AUTOMATIC,
        "forwarded host",
        {
            "header X-Forwarded-Host": header("X-Forwarded-Host", "SECRET.example.org"),
            "header X-Forwarded-Port": header("X-Forwarded-Port"),
            "header X-Forwarded-Proto": header("X-Forwarded-Proto"),
        },
    ),
]

CHANNELS = [
    Channel(topic, name, kind, plant, request)
    for topic, kind, request, plants in ROWS
    for name, plant in plants.items()
]
