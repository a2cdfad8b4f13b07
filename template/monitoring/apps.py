import logging
import os
import sys

from django.apps import AppConfig
from django.core.checks import register

from . import config

logger = logging.getLogger("monitoring")


class MonitoringConfig(AppConfig):
    name = "monitoring"
    redactor = None  # a `patterns.Redactor` while monitoring is on

    def ready(self):
        """Start monitoring, now that logging is configured, if there is a DSN."""
        register(check_configuration)
        if is_autoreloader():
            return
        try:
            loaded = config.load()
        except config.ConfigError as error:
            logger.error("Monitoring is off: %s", error)
            return
        if not loaded.dsn:
            return
        from . import sdk
        from .redaction.patterns import Redactor
        from .redaction.secrets import own_secrets

        redactor = Redactor(loaded.policy, own_secrets())
        try:
            sdk.init(loaded, redactor)
        except Exception as error:
            logger.error("Monitoring is off: Sentry did not start: %r", error)
            return
        self.redactor = redactor
        logger.info("Sentry initialized for environment '%s'", loaded.environment)


def check_configuration(app_configs, **kwargs):
    """Stop a deployment whose monitoring would not start."""
    try:
        config.load()
    except config.ConfigError as error:
        return error.errors
    return []


def is_autoreloader():
    """Whether this is the process of `runserver` that only restarts the serving one."""
    return (
        sys.argv[1:2] == ["runserver"]
        and "--noreload" not in sys.argv
        and os.environ.get("RUN_MAIN") != "true"
    )
