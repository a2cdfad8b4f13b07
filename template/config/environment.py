"""Reads environment variables, and reports all the wrong ones at once."""

from importlib.util import find_spec

import dj_database_url
import environs
from django.core.exceptions import ImproperlyConfigured
from environs import ValidationError

CACHE_BACKENDS = {
    "redis": "django.core.cache.backends.redis.RedisCache",
    "rediss": "django.core.cache.backends.redis.RedisCache",
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
}


# What is to be done about what environs and marshmallow say.
FIXES = {
    "Environment variable not set.": "Give it a value: .env.example explains it.",
    "Not a valid boolean.": "Write true or false.",
    "Not a valid log level.": "Write DEBUG, INFO, WARNING or ERROR.",
}


class Env(environs.Env):
    """An `environs.Env` that takes the process's variables first, then those of `.env`.

    An empty variable counts as unset. Wrong values are collected until `seal()`.
    """

    def __init__(self, dotenv_path):
        super().__init__(eager=False)
        self.dotenv_path = dotenv_path
        self.read_env(dotenv_path, recurse=False)
        self.add_parser("database_url", parse_database_url)
        self.add_parser("cache_url", parse_cache_url)

    def _get_value(self, env_key, default):
        value = super()._get_value(env_key, default)
        # `NAME=  # why` is empty for a shell and for Docker Compose; the .env reader
        # alone takes the comment for the value.
        unset = isinstance(value, str) and (not value.strip() or value[:2] == "# ")
        return default if unset else value

    def seal(self):
        """Raise ImproperlyConfigured naming every variable that is missing or wrong."""
        try:
            super().seal()
        except environs.EnvValidationError as error:
            lines = ["Set these environment variables right, in .env or outside:"]
            for name, messages in error.error_messages.items():
                texts = [f"{text} {FIXES.get(text, '')}" for text in map(str, messages)]
                lines.append(f"  {name}: {' '.join(texts)}".rstrip())
            if not self.dotenv_path.exists():
                lines.append("There is no .env: copy .env.example and fill it in.")
            raise ImproperlyConfigured("\n".join(lines)) from None


def parse_database_url(url):
    """Turn a URL of https://github.com/jazzband/dj-database-url into a database."""
    try:
        database = dj_database_url.parse(url)
    except ValueError:
        example = "postgres://user:password@host:5432/name"
        raise ValidationError(f"Not a database URL such as {example}.") from None
    is_postgresql = database["ENGINE"] == "django.db.backends.postgresql"
    if is_postgresql and not (find_spec("psycopg") or find_spec("psycopg2")):
        raise ValidationError("Install the package psycopg[binary].")
    return database


def parse_cache_url(url):
    """Turn `redis://[user:password@]host[:port][/db]` or `locmem://` into CACHES."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in CACHE_BACKENDS:
        raise ValidationError("Not a cache URL such as redis://localhost:6379/0.")
    if scheme == "locmem":
        return {"BACKEND": CACHE_BACKENDS[scheme]}
    if not find_spec("redis"):
        raise ValidationError("Install the package redis, or use locmem://.")
    return {
        "BACKEND": CACHE_BACKENDS[scheme],
        "LOCATION": url,
        # Seconds. A cache that does not answer must not hold up the site.
        "OPTIONS": {"socket_connect_timeout": 2, "socket_timeout": 2},
    }


def check_origins(origins):
    """Refuse a CSRF origin without its scheme, as Django itself would (4_0.E001)."""
    if not all(origin.startswith(("http://", "https://")) for origin in origins):
        raise ValidationError("Start each origin with https://.")
