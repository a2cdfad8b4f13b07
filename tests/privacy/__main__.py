"""Reports what leaks with another version of the SDK than the project admits.

    python -m tests.privacy 'sentry-sdk>=3.0.0b1'

The exit status is 1 if anything does that must not.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import matrix
from tests.privacy.conftest import install_probe
from tests.privacy.probe.channels import AUTOMATIC
from tests.privacy.run import CHANNELS, Column, isolated_run
from tests.venvs import Venv

COLUMNS = [
    Column(server, "stream", collection, redaction)
    for server, collection, redaction in [
        ("wsgi", "project", "usual"),
        ("asgi", "project", "usual"),
        ("wsgi", "everything", "usual"),
        ("asgi", "everything", "strict"),
        ("wsgi", "everything", "none"),
    ]
]


def main(requirement: str) -> int:
    kind = {channel.name: channel.kind for channel in CHANNELS}
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        template, project = Path(folder, "template"), Path(folder, "my_site")
        matrix.copy_template(template)
        matrix.render(template, project, {})
        install_probe(project)
        requirements = (project / "requirements.txt").read_text()
        requirements = re.sub(r"(?m)^sentry-sdk.*", requirement, requirements)
        pyproject = (project / "pyproject.toml").read_text()
        python = Venv(pyproject, f"{requirements}\nuvicorn\nbrotli\n").python
        version = "import sentry_sdk; print(sentry_sdk.VERSION)"
        subprocess.run([python, "-c", version], check=True)
        migrate = [python, "manage.py", "migrate", "-v0"]
        subprocess.run(migrate, cwd=project, check=True)
        for column in COLUMNS:
            result = isolated_run(column, project, python)
            planted = len(CHANNELS) - len(result.unsupported)
            for form, names in result.leaks.items():
                unasked = [name for name in names if kind[name] == AUTOMATIC]
                wrong = unasked if form == "short" else names
                print(
                    f"{column}, {form} secrets: {len(names)} of {planted} channels leak, "
                    f"{len(unasked)} of them without being asked"
                )
                if wrong and column.redaction != "none":
                    failed = True
                    print("  " + ", ".join(wrong))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
