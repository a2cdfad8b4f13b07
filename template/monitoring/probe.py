"""Asks the server behind a DSN, one step after the other, whether it takes events."""

import http.client
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

CLIENT = "monitoring-check/1.0"

# What the answers of a server mean: https://develop.sentry.dev/sdk/foundations/transport/
ANSWERS = {
    400: "The server does not understand envelopes: is it a Sentry-compatible one?",
    401: "The server does not know this key: copy the DSN from its project again.",
    403: "The server refuses this key for this project: copy the DSN from it again.",
    404: "There is no such project on this server: copy the DSN again.",
    413: "The server, or a proxy before it, refuses the size: raise its limit.",
    429: "The server takes no more for now: the quota is used up, or raise its limits.",
}


@dataclass
class Verdict:
    """How a step went. `fix` is empty when it went well."""

    step: str
    detail: str
    fix: str = ""

    @property
    def ok(self):
        return not self.fix


class StepTimeout(Exception):
    pass


def within(seconds, function):
    """Return what `function` returns; raises StepTimeout after `seconds`.

    Name resolution cannot be told to hurry; its thread is left behind.
    """
    outcome = []

    def work():
        try:
            outcome.append((function(), None))
        except Exception as error:
            outcome.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise StepTimeout
    value, error = outcome[0]
    if error:
        raise error
    return value


class Probe:
    """The steps, in order; each is a method that returns a Verdict.

    dsn: a valid DSN. timeout: seconds that each step may take.
    """

    steps = ("resolve", "connect", "encrypt", "ingest")

    def __init__(self, dsn, timeout):
        parts = urlsplit(dsn)
        self.timeout = timeout
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)
        prefix, _, project = parts.path.rstrip("/").rpartition("/")
        host = parts.netloc.rpartition("@")[2]
        self.project = project
        self.url = f"{parts.scheme}://{host}{prefix}/api/{project}/envelope/"
        # Sentry's own service takes events at one address and shows them at another.
        is_service = f".{self.host}".endswith(".sentry.io")
        site = "https://sentry.io" if is_service else f"{parts.scheme}://{host}"
        self.page = f"{site}{prefix}/"
        self.key = parts.username
        proxies = (
            {} if urllib.request.proxy_bypass(host) else urllib.request.getproxies()
        )
        self.proxy = proxies.get(parts.scheme)

    def endpoint(self):
        """Return the host and port to connect to: the proxy, if there is one."""
        if not self.proxy:
            return self.host, self.port
        proxy = urlsplit(self.proxy if "://" in self.proxy else f"http://{self.proxy}")
        return proxy.hostname, proxy.port or 80

    def run(self):
        """Yield the name of each step before it is taken, then its Verdict.

        Ends after the first step that fails.
        """
        for name in self.steps:
            yield name
            verdict = self.attempt(name, getattr(self, name))
            yield verdict
            if not verdict.ok:
                return

    def attempt(self, step, function):
        """Return the Verdict that `function` returns, or that it took too long."""
        try:
            return within(self.timeout, function)
        except StepTimeout:
            host, port = self.endpoint()
            fix = f"Let the firewall pass outgoing connections to {host}:{port}."
            if step == "resolve":
                fix = "Mend the name server of this machine, which does not answer."
            return Verdict(step, f"no answer within {self.timeout:g} s", fix)

    def resolve(self):
        host, port = self.endpoint()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", "it cannot be a name")
            return Verdict(
                "resolve",
                f"{host} has no address: {reason}",
                "Correct the host in SENTRY_DSN, or the name server of this machine.",
            )
        addresses = sorted({address[4][0] for address in found})
        return Verdict("resolve", f"{host} is {', '.join(addresses[:3])}")

    def connect(self):
        host, port = self.endpoint()
        started = time.monotonic()
        try:
            with socket.create_connection((host, port), self.timeout):
                milliseconds = (time.monotonic() - started) * 1000
        except TimeoutError:
            raise StepTimeout from None
        except OSError as error:
            return Verdict(
                "connect",
                f"{host}:{port} cannot be reached: {error.strerror or error}",
                "Start the server, or let the firewall pass connections to it.",
            )
        via = " (a proxy)" if self.proxy else ""
        return Verdict("connect", f"{host}:{port}{via} in {milliseconds:.0f} ms")

    def encrypt(self):
        if not self.secure:
            return Verdict("encrypt", "not asked for: the DSN starts with http://")
        if self.proxy:
            return Verdict("encrypt", "left to the next step, through the proxy")
        context = ssl.create_default_context()
        try:
            with (
                socket.create_connection((self.host, self.port), self.timeout) as plain,
                context.wrap_socket(plain, server_hostname=self.host) as secure,
            ):
                return Verdict("encrypt", f"{secure.version()}, certificate is valid")
        except ssl.SSLCertVerificationError as error:
            return Verdict(
                "encrypt",
                f"the certificate is not trusted: {error.verify_message}",
                "Give the server a certificate of a known authority for this host, or "
                "set SSL_CERT_FILE to a file with the authority that signed it.",
            )
        except TimeoutError:
            raise StepTimeout from None
        except OSError as error:
            return Verdict(
                "encrypt",
                f"the server does not speak TLS: {error.args[-1]}",
                "Start SENTRY_DSN with http:// if the server has no TLS.",
            )

    def ingest(self):
        report = {"timestamp": time.time(), "discarded_events": []}
        envelope = b"{}\n" + b"\n".join(
            json.dumps(line).encode() for line in ({"type": "client_report"}, report)
        )
        return self.post(envelope, "ingest")

    def post(self, envelope, step):
        """Send the bytes of an envelope; return the Verdict on the server's answer."""
        auth = f"Sentry sentry_key={self.key},sentry_version=7,sentry_client={CLIENT}"
        headers = {
            "Content-Type": "application/x-sentry-envelope",
            "X-Sentry-Auth": auth,
            "User-Agent": CLIENT,
        }
        # A DSN is checked to start with http:// or https://.
        request = urllib.request.Request(self.url, envelope, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:  # noqa: S310
                return Verdict(
                    step, f"project {self.project} accepts (HTTP {response.status})"
                )
        except urllib.error.HTTPError as error:
            fix = ANSWERS.get(error.code, "Look into the log of the server: it failed.")
            again = error.headers.get("Retry-After")
            wait = f", and asks to wait {again} s" if again else ""
            return Verdict(step, f"the server answers HTTP {error.code}{wait}", fix)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise StepTimeout from None
            return Verdict(
                step,
                f"the connection broke: {reason}",
                "Look into the log of the server, and of proxies before it.",
            )
