"""The project's own settings, with the probe in it."""

import os

from config.settings import *  # noqa: F403

from .process import SETTINGS

# Before `monitoring`, whose call of `sentry_sdk.init` it changes.
INSTALLED_APPS = ["probe.apps.ProbeConfig", *INSTALLED_APPS]  # noqa: F405
ROOT_URLCONF = "probe.urls"
SECURE_SSL_REDIRECT = False
SESSION_COOKIE_SECURE = False
# Template sources are collected only with this.
TEMPLATES[0]["OPTIONS"]["debug"] = True  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {  # noqa: F405
    "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
}
LOGGING["handlers"]["console"] = {"class": "logging.NullHandler"}  # noqa: F405
SENTRY_REDACTION = {"strict": os.environ["PROBE_REDACTION"] == "strict"}
globals().update({name: os.environ[f"PROBE_{name}"] for name in SETTINGS})
