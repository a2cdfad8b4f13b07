"""The secrets this process knows: they are looked for by value in all that leaves."""

import json
import os
from urllib.parse import quote, quote_plus, urlsplit

from django.conf import global_settings, settings

from .names import is_sensitive

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
    values = {str(value).strip() for value in values if value}
    values = {v for v in values if len(v) >= MIN_LENGTH and v.lower() not in WORTHLESS}
    return sorted({form for value in values for form in forms(value)}, key=len)[::-1]


def in_tree(name, value):
    """Yield the texts with a sensitive name, and the passwords in URLs."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from in_tree(str(key), item)
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            yield from in_tree(name, item)
    elif isinstance(value, str):
        yield password_of(value)
        if is_sensitive(name):
            yield value


def forms(value):
    """Return the value as it is, and as it stands in URLs, JSON and Python's repr."""
    return {
        value,
        quote(value, safe=""),
        quote_plus(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
    }


def is_plain(name, value):
    """Whether it is a path, or a desktop's word for its session."""
    prefixes = ("PWD", "OLDPWD", "XDG_", "DESKTOP_")
    return value.startswith("/") or name.startswith(prefixes)


def password_of(url):
    """Return the password in a URL, or None."""
    if "://" not in url or "@" not in url:
        return None
    try:
        return urlsplit(url).password
    except ValueError:
        return None
