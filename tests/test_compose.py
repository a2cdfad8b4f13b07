"""What Docker Compose says of docker-compose.yml. Needs the plugin, but no engine."""

import json
import shutil
import subprocess

import pytest


@pytest.fixture
def config(environment):
    """Return a function: the project as Docker Compose reads it, or its complaint."""
    command = ["docker", "compose"]
    if not shutil.which("docker") or subprocess.run([*command, "version"]).returncode:
        pytest.skip("there is no Docker Compose here (docker compose version)")

    def config(folder):
        done = subprocess.run(
            [*command, "config", "--format", "json"],
            cwd=folder,
            env=environment,
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
        for name, service in read["services"].items():
            assert service["cap_drop"] == ["ALL"], f"{name} of {project}"
            ports = service.get("ports", [])
            assert all(port["host_ip"] == "127.0.0.1" for port in ports), project
        assert read["services"]["web"]["read_only"]


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("SECRET_KEY", {}),
        ("POSTGRES_PASSWORD", {"database": "postgresql"}),
        ("BUGSINK_PASSWORD", {"error_dashboard": "bugsink"}),
    ],
)
def test_what_must_be_set_is_asked_for_by_name(render, config, tmp_path, name, answers):
    project = render(tmp_path / "site", **answers)
    lines = (project / ".env").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f"{name}=")]
    assert len(kept) == len(lines) - 1
    (project / ".env").write_text("\n".join(kept))
    assert f"required variable {name} is missing" in config(project)
