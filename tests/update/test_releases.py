"""Every release updates to the working tree, and is made as CONTRIBUTING.md says."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch

import pytest
import yaml
from packaging.version import Version

from tests import matrix
from tests.matrix import ROOT
from tests.update.releases import (
    FIRST_COMMIT,
    WORKING_TREE,
    Template,
    changelog,
    differences,
    every_pair,
    git,
    released,
    update,
)


@pytest.mark.parametrize("version", released())
@pytest.mark.parametrize("answers", every_pair(), ids=matrix.as_data)
def test_an_untouched_project_updated_is_a_fresh_one(
    template, fresh, tmp_path, version, answers
):
    project = template.start(tmp_path / "site", version, **answers)
    variables = (project / ".env").read_bytes()
    update(project)
    assert not differences(project, fresh(**answers))
    assert (project / ".env").read_bytes() == variables


def test_a_project_made_from_the_first_commit_still_updates(template, fresh, tmp_path):
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("the first commit is not in a shallow clone: git fetch --unshallow")
    project = template.start(tmp_path / "site", FIRST_COMMIT)
    update(project)
    assert not differences(project, fresh())


def test_a_project_made_before_there_was_a_tag_updates_to_one(template, tmp_path):
    folder = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", "--no-tags", template.folder, folder)
    untagged = Template(folder, template.latest)
    project = untagged.start(tmp_path / "site", "HEAD")
    git(folder, "tag", template.latest)
    update(project)
    assert not differences(project, untagged.render(tmp_path / "fresh"))


@pytest.mark.parametrize("version", [FIRST_COMMIT, *released(), WORKING_TREE])
def test_no_version_has_what_copier_wants_trust_for(template, version):
    config = yaml.safe_load(git(template.folder, "show", f"{version}:copier.yml"))
    assert config.keys().isdisjoint(
        {"_tasks", "_migrations", "_jinja_extensions", "_external_data"}
    )


def test_an_update_to_the_same_version_changes_nothing(template, tmp_path):
    project = template.start(tmp_path / "site")
    variables = (project / ".env").read_bytes()
    update(project)
    assert git(project, "status", "--porcelain") == ""
    assert (project / ".env").read_bytes() == variables


def test_the_newest_version_of_the_changelog_is_that_of_the_package():
    headings = re.findall(r"^## \[(\d.*?)\] - \d{4}-\d\d-\d\d$", changelog(), re.M)
    assert len(headings) == len(re.findall(r"^## \[\d", changelog(), re.M))
    versions = [Version(heading) for heading in headings]
    assert versions == sorted(versions, reverse=True)
    assert [str(version) for version in versions] == headings
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert package["version"] == headings[0]


@pytest.fixture
def publish(tmp_path):
    """Return a function that runs the workflow's last step for a tag.

    It returns the step's exit status and the arguments that `gh` was called with.
    """
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    step = workflow["jobs"]["release"]["steps"][-1]
    arguments = tmp_path / "arguments"
    program = tmp_path / "gh"
    program.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >'{arguments}'\n")
    program.chmod(0o755)

    def publish(tag, folder=ROOT):
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=folder,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_REF_NAME": tag},
            capture_output=True,
            text=True,
        )
        called = arguments.read_text().split("\0")[:-1] if arguments.exists() else []
        return done.returncode, called

    return publish


@pytest.mark.parametrize("tag", released())
def test_a_tag_becomes_a_release_with_its_section_of_the_changelog(publish, tag):
    status, called = publish(tag)
    assert status == 0
    assert called[:3] == ["release", "create", tag]
    notes = called[called.index("--notes") + 1]
    assert notes in changelog()
    assert notes.startswith("### ")
    assert "\n## " not in notes


def test_a_tag_without_a_section_is_not_released(publish):
    assert publish("v999.0.0") == (1, [])


def test_a_section_is_that_of_its_version_alone(publish, tmp_path):
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n- Later.\n\n## [1.10.0] - 2027-01-01\n\n"
        "- Ten.\n\n## [1.1.0] - 2026-12-01\n\n### Added\n\n- One.\n\n"
        "## [1.0.0] - 2026-11-23\n\n- First.\n"
    )
    status, called = publish("v1.1.0", tmp_path)
    assert status == 0
    assert called[called.index("--notes") + 1].strip() == "### Added\n\n- One."


def test_the_tag_of_the_release_steps_starts_the_workflow():
    steps = (ROOT / "CONTRIBUTING.md").read_text()
    (tag,) = re.findall(r"^git tag .* (\S+)$", steps, re.M)
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    # YAML reads the key `on` as true.
    (pattern,) = workflow[True]["push"]["tags"]
    assert fnmatch(tag.replace("X.Y.Z", "1.2.3"), pattern)
