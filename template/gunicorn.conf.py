"""Gunicorn's settings: https://gunicorn.org/reference/settings/"""

import os
from pathlib import Path
from select import select

from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):
    """Loses no request when it stops.

    Gunicorn leaves the port open until the last request is served, and then breaks the
    connections that came meanwhile. This worker accepts those that wait and closes the
    port at once: what is refused, a proxy can safely send again.
    """

    def set_accept_enabled(self, enabled):
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                while select([listener], [], [], 0)[0]:
                    self.accept(listener)
                listener.close()


worker_class = Worker

# Loaded once, before the workers fork: start-up is logged once, and the workers share the
# memory of the code. New code therefore needs a restart; HUP only renews the workers.
preload_app = True

# Behind a proxy on the same machine. The container says --bind 0.0.0.0:8000 instead.
bind = "127.0.0.1:8000"

# Two workers keep the site up while one restarts; a busy server takes one per core. Four
# threads each let requests wait for the database side by side. Their product is also the
# number of database connections, far below PostgreSQL's default of 100.
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 4

# A worker silent for 30 s hangs and is replaced. A stopping one has 30 s to serve its
# requests and to deliver what it logged, less than the 40 s after which Docker Compose
# kills it.
timeout = 30
graceful_timeout = 30

# Bounds what a slow leak can grow to; the jitter keeps workers from restarting together.
max_requests = 10_000
max_requests_jitter = 1_000

# Workers touch a file to show that they live. In memory that never waits for a disk.
memory = Path("/dev/shm")  # noqa: S108 - gunicorn picks unpredictable names there
worker_tmp_dir = str(memory) if memory.is_dir() else None

# Nothing here uses gunicornc, and a read-only container has no home for its socket.
control_socket_disable = True

# %(U)s is the path without the query string, where tokens and personal data travel. The
# last is the id that the request's other lines have.
accesslog = "-"
access_log_format = (
    '%(t)s %(h)s "%(m)s %(U)s %(H)s" %(s)s %(B)s %(M)sms [%({x-request-id}o)s]'
)
