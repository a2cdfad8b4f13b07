"""The secrets this process knows: they are looked for by value in all that leaves."""

import os
from urllib.parse import quote, urlsplit

from django.conf import global_settings, settings

from .names import is_sensitive

DJANGO_SETTINGS = set(dir(global_settings))
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
    values = {settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS}
    values.add(settings.EMAIL_HOST_PASSWORD)
    values |= {database.get("PASSWORD") for database in settings.DATABASES.values()}
    for cache in settings.CACHES.values():
        locations = cache.get("LOCATION") or ()
        for url in [locations] if isinstance(locations, str) else locations:
            values.add(password_of(url))
    # What the project itself defined, in its settings or its environment.
    names = {name for name in dir(settings) if name.isupper()} - DJANGO_SETTINGS
    project = {name: getattr(settings, name) for name in names}
    for name, value in (*project.items(), *os.environ.items()):
        if isinstance(value, str):
            values.add(password_of(value))
            if is_sensitive(name) and not is_plain(name, value):
                values.add(value)
    values = {str(value).strip() for value in values if value}
    values |= {quote(value, safe="") for value in values}
    return sorted(
        (v for v in values if len(v) >= MIN_LENGTH and v.lower() not in WORTHLESS),
        key=len,
        reverse=True,
    )


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
