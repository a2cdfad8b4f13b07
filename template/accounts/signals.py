"""Logs logins, failed logins and logouts as security events."""

import logging

from django.contrib.auth.signals import (
    user_logged_in,
    user_logged_out,
    user_login_failed,
)
from django.dispatch import receiver

logger = logging.getLogger("security")


@receiver(user_logged_in)
def log_login(request, user, **kwargs):
    log(logging.INFO, "login", request, user.get_username())


@receiver(user_logged_out)
def log_logout(request, user, **kwargs):
    log(logging.INFO, "logout", request, user.get_username() if user else None)


@receiver(user_login_failed)
def log_failed_login(credentials, request=None, **kwargs):
    log(logging.WARNING, "failed login", request, credentials.get("username"))


def log(level, event, request, username):
    logger.log(level, event, extra={"request": request, "username": username})
