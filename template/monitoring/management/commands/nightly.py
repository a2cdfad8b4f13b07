from django.core.management import call_command

from monitoring.crons import MonitoredCommand


class Command(MonitoredCommand):
    help = "Cleans up: removes expired sessions. An example of a monitored command."
    schedule = "0 3 * * *"

    def handle(self, *args, **options):
        call_command("clearsessions")
        self.stdout.write("Removed expired sessions.")
