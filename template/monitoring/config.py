"""What the environment says about monitoring, as one validated value."""

import math
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import Error

from .redaction.policy import Policy


class ConfigError(Exception):
    """The configuration cannot be used. `errors` holds the system-check errors."""

    def __init__(self, errors):
        super().__init__(" ".join(f"{error.msg} {error.hint}" for error in errors))
        self.errors = errors


@dataclass(frozen=True)
class Config:
    """Everything `monitoring.sdk.init` needs.

    `dsn` is "" when monitoring is off. Rates are shares from 0 to 1: of the requests
    (traces) and of the traced requests (profiles).
    """

    dsn: str
    environment: str
    release: str
    traces_sample_rate: float
    profiles_sample_rate: float
    policy: Policy

    @property
    def public_key(self):
        return urlsplit(self.dsn).username

    @property
    def masked_dsn(self):
        """The DSN as it may be shown: without most of its key."""
        parts = urlsplit(self.dsn)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{self.public_key[:4]}****@{host}").geturl()


def load():
    """Read the settings.

    Raises ConfigError, with one error for each setting that is wrong.
    """
    errors = []
    config = Config(
        dsn=_dsn(errors),
        environment=settings.ENVIRONMENT,
        release=settings.GIT_COMMIT,
        traces_sample_rate=_rate("SENTRY_TRACES_SAMPLE_RATE", "E002", errors),
        profiles_sample_rate=_rate("SENTRY_PROFILES_SAMPLE_RATE", "E003", errors),
        policy=_policy(errors),
    )
    if errors:
        raise ConfigError(errors)
    return config


def _dsn(errors):
    dsn = settings.SENTRY_DSN.strip()
    if not dsn:
        return ""
    try:
        from sentry_sdk.utils import BadDsn, Dsn
    except ModuleNotFoundError:
        errors.append(
            Error(
                "SENTRY_DSN is set, but sentry-sdk is not installed.",
                hint="Install sentry-sdk[django], or leave SENTRY_DSN empty.",
                id="monitoring.E004",
            )
        )
        return ""
    try:
        Dsn(dsn)
    except (BadDsn, ValueError):
        errors.append(
            Error(
                "SENTRY_DSN is not a DSN.",
                hint="Copy it from Sentry, under Settings > Projects > Client Keys: "
                "https://<public key>@<host>/<project id>. Empty switches it off.",
                id="monitoring.E001",
            )
        )
    return dsn


def _rate(name, check_id, errors):
    text = getattr(settings, name)
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= 1:
        errors.append(
            Error(
                f"{name} is {text!r}, not a number from 0 to 1.",
                hint=f"Set {name} to a share such as 0.1 for 10 %, or to 0 for none.",
                id=f"monitoring.{check_id}",
            )
        )
    return rate


def _policy(errors):
    try:
        return Policy.from_settings(getattr(settings, "SENTRY_REDACTION", {}))
    except ValueError as error:
        errors.append(
            Error(
                f"SENTRY_REDACTION: {error}",
                hint="docs/privacy.md lists what it takes.",
                id="monitoring.E005",
            )
        )
        return Policy()
