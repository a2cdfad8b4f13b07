"""The secrets this process knows: they are looked for by value in all that leaves."""

import json
import os
import re
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from django.conf import global_settings, settings

from .names import is_sensitive
from .patterns import FILTERED, plain_path

# Django's names, such as SESSION_COOKIE_NAME, sound sensitive and are not, but for three.
PROMISE_NOTHING = set(dir(global_settings)) - {
    "EMAIL_HOST_PASSWORD",
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
}
# Shorter values would be found in innocent text.
MIN_LENGTH = 6
# Passwords that protect nothing, while their removal would garble every second line.
WORTHLESS = {
    "admin", "changeme", "default", "django", "development", "example", "localhost",
    "monitoring", "password", "postgres", "postgresql", "production", "sentry", "secret",
    "staging", "unknown",
}  # fmt: skip

# The name of a header, a cookie or a class, or a scheme: JWT_AUTH_COOKIE = "access-token".
_NAME = re.compile(r"[A-Za-z]+(?:[._-][A-Za-z]+)*")
# By the end of their names: those that are secret whatever they say, those whose items
# are, and those that everybody may know, such as AUTH_PROVIDER = "google".
_SECRET = re.compile(r"(?:key|passphrase|password|secret)s?\Z", re.I)
_SECRETS = re.compile(r"(?:credential|key|password|secret|token)s(?:_|\Z)", re.I)
_PUBLIC = re.compile(
    r"(?:algorithm|backend|claim|class|domain|engine|field|file|group|header|host|method"
    r"|model|path|prefix|provider|realm|role|scope|serializer|url)(?:e?s)?\Z",
    re.I,
)
# In `Server=db;Password=x`.
_PASSWORD = re.compile(r"\b(?:password|pwd)\s*=\s*([^;\s'\"]+)", re.I)


def own_secrets():
    """Return the values, at least 6 characters each, longest first."""
    values = set()
    for name in filter(str.isupper, dir(settings)):
        # Django's own defaults are no secrets, and to read some of them warns.
        if settings.is_overridden(name):
            promises = name not in PROMISE_NOTHING
            values |= set(in_tree(name if promises else "", getattr(settings, name)))
    for name, value in os.environ.items():
        if not is_plain(name, value):
            values |= set(in_tree(name, value))
    values = {value.strip() for value in values}
    values = {v for v in values if len(v) >= MIN_LENGTH and v.lower() not in WORTHLESS}
    return sorted(values, key=len)[::-1]


def in_tree(name, value):
    """Yield the texts with a sensitive name, and the passwords in addresses."""
    if isinstance(value, bytes):
        value = value.decode(errors="ignore")
    if isinstance(value, str) and value.startswith("{"):
        with suppress(ValueError):
            yield from in_tree(name, json.loads(value))
    if isinstance(value, dict):
        outer = f"{name}_" if _SECRETS.search(name) else ""
        for key, item in value.items():
            yield from in_tree(f"{outer}{key}", item)
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            yield from in_tree(name, item)
    elif isinstance(value, str):
        yield from passwords_in(value)
        if is_sensitive(name) and not is_public(name, value):
            yield value


def is_public(name, value):
    """Whether it is a name, or the address of something."""
    if _NAME.fullmatch(value) and is_sensitive(value) and not _SECRET.search(name):
        return True
    if "://" in value:
        # One that gives access has it before an @, or a token in the path.
        return "@" not in value and FILTERED not in plain_path(value)
    return bool(_PUBLIC.search(name))


def is_plain(name, value):
    """Whether it is a path, or a desktop's word for its session."""
    is_path = os.path.isabs(value) and os.path.exists(value)
    return is_path or name in ("PWD", "OLDPWD") or name.startswith(("XDG_", "DESKTOP_"))


def passwords_in(text):
    """Yield those in a URL or a connection string, as written and as meant."""
    yield from _PASSWORD.findall(text)
    if "://" in text and "@" in text:
        with suppress(ValueError):
            password = urlsplit(text).password or ""
            yield password
            yield unquote(password)
