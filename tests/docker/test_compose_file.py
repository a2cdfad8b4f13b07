"""What Docker Compose says of docker-compose.yml. Needs the plugin, but no engine."""

import json
import subprocess

import pytest

from tests.docker.stack import INHERITED, Stack


@pytest.fixture
def config(compose):
    """Return a function: the project as Docker Compose reads it, or its complaint."""

    def config(folder):
        done = subprocess.run(
            ["docker", "compose", "config", "--format", "json"],
            cwd=folder,
            env=Stack(folder, "site", "site", {}).env,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    return config


def test_every_variant_is_accepted_and_hardened(matrix, config, tmp_path):
    variants = {
        project.files["docker-compose.yml"]: project
        for project in matrix.all_projects()
        if "docker-compose.yml" in project.files
    }
    assert len(variants) >= 12  # database × cache × dashboard
    for digest, project in variants.items():
        folder = tmp_path / digest
        matrix.write(project, folder)
        read = config(folder)
        assert isinstance(read, dict), f"{project}\n{read}"
        published = {
            port["host_ip"]
            for service in read["services"].values()
            for port in service.get("ports", [])
        }
        assert published == {"127.0.0.1"}, project
        for name, service in read["services"].items():
            where = f"{name} of {project}"
            assert service["cap_drop"] == ["ALL"], where
            assert service["security_opt"] == ["no-new-privileges:true"], where
            assert service["logging"]["options"]["max-size"] == "10m", where
            assert int(service["mem_limit"]) <= 512 * 2**20, where
            assert "SENTRY_SPOTLIGHT" not in service.get("environment", {}), where
            assert service["restart"] in ("unless-stopped", "no"), where
        web = read["services"]["web"]
        assert web["read_only"] and web["init"]


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("SECRET_KEY", {}),
        ("POSTGRES_PASSWORD", {"database": "postgresql"}),
        ("BUGSINK_SECRET_KEY", {"error_dashboard": "bugsink"}),
        ("BUGSINK_PASSWORD", {"error_dashboard": "bugsink"}),
    ],
)
def test_what_must_be_set_is_asked_for_by_name(render, config, tmp_path, name, answers):
    project = render(tmp_path / "site", **answers)
    text = (project / ".env").read_text()
    kept = [line for line in text.splitlines() if not line.startswith(f"{name}=")]
    assert len(kept) == len(text.splitlines()) - 1
    (project / ".env").write_text("\n".join(kept))
    complaint = config(project)
    assert f"required variable {name} is missing" in complaint


def test_the_ports_can_be_moved_by_dotenv(render, config, tmp_path):
    project = render(tmp_path / "site", use_sentry=False)
    stack = Stack(project, "site", "site", {})
    with (project / ".env").open("a") as file:
        file.write("WEB_BIND=10.1.2.3\nWEB_PORT=81\n")
    env = {key: stack.env[key] for key in INHERITED if key in stack.env}
    text = stack.run("docker", "compose", "config", "--format", "json", env=env)
    (port,) = json.loads(text)["services"]["web"]["ports"]
    assert (port["host_ip"], port["published"]) == ("10.1.2.3", "81")
