"""Reports to Sentry whether scheduled commands ran, ended in time and succeeded."""

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand


class MonitoredCommand(BaseCommand):
    """A management command with check-ins, for cron and its like.

    The first run makes the monitor in Sentry; later ones keep it as it is here. Its slug
    is the name of the command, never an argument.

    schedule: when it runs, in the syntax of crontab, in TIME_ZONE.
    max_runtime: minutes after which it counts as failed.
    margin: minutes it may start late.
    """

    schedule = "0 0 * * *"
    max_runtime = 30
    margin = 10

    def execute(self, *args, **options):
        if not apps.get_app_config("monitoring").redactor:
            return super().execute(*args, **options)
        from sentry_sdk.crons import monitor

        config = {
            "schedule": {"type": "crontab", "value": self.schedule},
            "timezone": settings.TIME_ZONE,
            "max_runtime": self.max_runtime,
            "checkin_margin": self.margin,
        }
        slug = type(self).__module__.rpartition(".")[2].replace("_", "-")
        with monitor(monitor_slug=slug, monitor_config=config):
            return super().execute(*args, **options)
