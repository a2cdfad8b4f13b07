"""Boots projects, each in a process of its own, run by the Python of their venv.

A server: it loads Django once, and forks for each job, a line of JSON on standard
input:

    folder     of the project
    environ    further environment variables
    commands   arguments of manage.py, run first and in this order
    requests   {path, host, https}, each made through WSGI and again through ASGI

The answer is a line of JSON on standard output:

    error      a traceback, or null
    output     what the project wrote to standard output and standard error
    responses  {interface, path, host, https, status, headers, body}
    modules    the top-level names of all that was imported
    opened     the paths in the folder of all files that were opened

A deprecation is an error if the project or the Sentry SDK causes it, and if it is one
of Django's, whoever causes it.
"""

import asyncio
import json
import os
import sys
import tempfile
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from wsgiref.util import setup_testing_defaults

# What Django imports before it needs settings.
PRELOADED = [
    "asgiref.testing",
    "django.contrib.auth.hashers",
    "django.contrib.staticfiles.finders",
    "django.core.handlers.asgi",
    "django.core.handlers.wsgi",
    "django.core.management.commands.check",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.executor",
    "django.forms",
    "django.template.loader",
    "django.views.debug",
    "django.views.generic",
    "environs",
    "whitenoise",
]


def main():
    for name in PRELOADED:
        import_module(name)
    for line in sys.stdin:
        print(json.dumps(in_a_fork(json.loads(line))), flush=True)


def in_a_fork(job):
    """Return the result of a job, or the signal that ended it as its error."""
    with tempfile.TemporaryFile("w+") as result, tempfile.TemporaryFile() as output:
        if not (pid := os.fork()):
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            json.dump(boot(job), result)
            result.flush()
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        result.seek(0)
        output.seek(0)
        found = json.load(result) if status == 0 else {"error": f"status {status}"}
        return found | {"output": output.read().decode(errors="replace")}


def boot(job):
    folder = Path(job["folder"])
    os.environ.update(job["environ"])
    os.chdir(folder)
    sys.path[0] = str(folder)
    opened = watch(folder)
    refuse_deprecations(folder)
    responses = []
    error = None
    try:
        for command in job["commands"]:
            manage(command)
        for interface in (wsgi, asgi):
            respond = interface()
            for request in job["requests"]:
                status, headers, body = respond(request)
                responses.append(
                    request
                    | {"interface": interface.__name__, "status": status}
                    | {"headers": headers, "body": body}
                )
    except BaseException:
        error = traceback.format_exc()
    return {
        "error": error,
        "responses": responses,
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
        "opened": sorted(opened),
    }


def watch(folder):
    """Return a set to which each path in `folder` is added that is opened from now."""
    opened = set()

    def hook(event, arguments):
        if event == "open" and isinstance(arguments[0], str):
            path = os.path.abspath(arguments[0])
            if path.startswith(f"{folder}{os.sep}"):
                opened.add(os.path.relpath(path, folder))

    sys.addaudithook(hook)
    return opened


def refuse_deprecations(folder):
    from django.utils import deprecation

    own = [path.parent.name for path in folder.glob("*/__init__.py")]
    modules = "|".join([*own, "manage", "sentry_sdk"])
    for category in (DeprecationWarning, PendingDeprecationWarning):
        warnings.filterwarnings("error", "", category, rf"({modules})(\.|$)")
    for name, category in vars(deprecation).items():
        if name.startswith("RemovedInDjango"):
            warnings.simplefilter("error", category)


def manage(command):
    """Run manage.py; raises SystemExit if the command fails."""
    sys.argv = ["manage.py", *command]
    import_module("manage").main()


def wsgi():
    application = import_module("config.wsgi").application

    def respond(request):
        environ = {
            "PATH_INFO": request["path"].partition("?")[0],
            "QUERY_STRING": request["path"].partition("?")[2],
            "HTTP_HOST": request["host"],
            "REMOTE_ADDR": "127.0.0.1",
        }
        if request["https"]:
            environ["HTTP_X_FORWARDED_PROTO"] = "https"
        setup_testing_defaults(environ)
        started = []
        body = application(environ, lambda *arguments: started.append(arguments))
        try:
            text = b"".join(body).decode()
        finally:
            body.close()
        status, headers = started[0][:2]
        return int(status.split()[0]), dict(headers), text

    return respond


def asgi():
    from asgiref.testing import ApplicationCommunicator

    application = import_module("config.asgi").application

    async def exchange(request):
        path, _, query = request["path"].partition("?")
        headers = [(b"host", request["host"].encode())]
        if request["https"]:
            headers.append((b"x-forwarded-proto", b"https"))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }
        communicator = ApplicationCommunicator(application, scope)
        await communicator.send_input({"type": "http.request", "body": b""})
        start = await communicator.receive_output(timeout=60)
        body = b""
        more = True
        while more:
            part = await communicator.receive_output(timeout=60)
            body += part.get("body", b"")
            more = part.get("more_body", False)
        await communicator.wait(timeout=60)
        found = {name.decode().title(): v.decode() for name, v in start["headers"]}
        return start["status"], found, body.decode()

    return lambda request: asyncio.run(exchange(request))


if __name__ == "__main__":
    main()
