"""What the project says of itself is so: docs against code, versions against the changelog, pins against pyproject."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from packaging.version import Version
from pydantic.fields import FieldInfo

import deploy
from deploy import cli, settings
from streams.topics import DAY_MS, Topics, TopicSpec

ROOT = Path(__file__).parent.parent
ROOMS = ("twin", "models", "streams", "deploy")
MOST_LINES = 300
LONGER: dict[str, str] = {}  # path → why it may be longer

PAGES = [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
FIELDS = {settings.PREFIX + name.upper(): field for group in settings.GROUPS for name, field in group.model_fields.items()}


def text(path: str) -> str:
    return (ROOT / path).read_text()


def tracked() -> list[Path]:
    """Files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


# ── settings and topics ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("variable", "field"), FIELDS.items(), ids=FIELDS)
def test_a_setting_is_documented_with_its_default_and_meaning(variable: str, field: FieldInfo) -> None:
    default = str(field.default).replace(str(Path.home()), "~")
    row = f"| `{variable}` | `{default}` | {field.description} |"
    assert row in text("docs/settings.md").splitlines(), f"docs/settings.md lacks the row\n{row}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_no_setting_that_is_not_there(page: Path) -> None:
    named = set(re.findall(r"LIVETWIN_[A-Z0-9_]+", page.read_text()))
    assert not {name for name in named if name not in FIELDS and not name.startswith("LIVETWIN_TEST_")}


def cleanup(spec: TopicSpec) -> str:
    words = spec.config["cleanup.policy"].replace(",", ", ")
    return (
        words.replace("delete", f"delete after {int(spec.config['retention.ms']) // DAY_MS} days") if "delete" in words else words
    )


@pytest.mark.parametrize("spec", Topics("").specs(-1), ids=lambda spec: spec.name)
def test_a_topic_is_documented_with_its_partitions_and_cleanup(spec: TopicSpec) -> None:
    rows = [line.strip("|").split("|") for line in text("docs/topics.md").splitlines() if line.startswith(f"| `{spec.name}` |")]
    assert len(rows) == 1, f"docs/topics.md has {len(rows)} rows that begin with | `{spec.name}` |, expected one"
    *_, meaning, partitions, cleaned = (cell.strip() for cell in rows[0])
    own = "`LIVETWIN_PARTITIONS`" if spec.name == "telemetry" else "as telemetry"
    assert (partitions, cleaned) == (own if spec.partitions == -1 else str(spec.partitions), cleanup(spec))
    assert ("up to 8 MiB" in meaning) == ("max.message.bytes" in spec.config)


# ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_of_a_page_are_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_a_page_names_are_there(page: Path) -> None:
    named = set(re.findall(r"`((?:twin|models|streams|deploy|tests)/[\w/]+\.(?:py|sh))", page.read_text()))
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert not missing


def shell_lines(page: Path) -> list[str]:
    """Commands in the page's ```sh blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_that_a_page_uses_are_in_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    used = {found.group(1) for line in shell_lines(page) if (found := re.match(r"make ([a-z-]+)", line))}
    assert used <= targets


def livetwin_lines(page: Path) -> list[list[str]]:
    """The words after `livetwin` in the page's commands, those that `make run` hands on included."""
    found = [re.match(r"(?:\S*/)?livetwin (.*)", line) for line in shell_lines(page)]
    up = [re.match(r'make run .*ARGS="([^"]*)"', line) for line in shell_lines(page)]
    return [shlex.split(one.group(1)) for one in found if one] + [["up", *shlex.split(one.group(1))] for one in up if one]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_livetwin_commands_and_options_that_a_page_uses_are_there(page: Path) -> None:
    for words in livetwin_lines(page):
        command: Any = typer.main.get_command(cli.app)
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, f"livetwin {words[0]}"
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options


# ── version and pins ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_version_is_the_newest_of_the_changelog_or_ahead_of_it_with_unreleased_changes() -> None:
    headings = re.findall(r"^## \[?([^\s\]]+)", text("CHANGELOG.md"), re.MULTILINE)
    released = [Version(heading) for heading in headings if heading != "Unreleased"]
    if "Unreleased" in headings:
        assert headings[0] == "Unreleased"
        assert all(Version(deploy.__version__) >= version for version in released)
    else:
        assert Version(deploy.__version__) == max(released)


def pins() -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for path in set(ROOT.glob("requirements*.txt")) - {ROOT / "requirements-rivals.txt"}:  # an environment of its own
        for name, version in re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", path.read_text(), re.MULTILINE):
            found.setdefault(name, []).append(Version(version))
    return found


def test_every_dependency_of_pyproject_is_pinned_to_a_version_that_fits() -> None:
    declared = tomllib.loads(text("pyproject.toml"))
    wanted = list(declared["project"]["dependencies"])
    wanted += [line for group in declared["dependency-groups"].values() for line in group]
    pinned = pins()
    unpinned = []
    for requirement in map(Requirement, wanted):
        versions = pinned.get(re.sub(r"[-_.]+", "-", requirement.name).lower(), [])
        if not versions or not all(version in requirement.specifier for version in versions):
            unpinned.append(str(requirement))
    assert not unpinned, "run `make lock`"


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.txt")), ids=lambda path: path.name)
def test_every_pin_has_a_hash_and_no_address(path: Path) -> None:
    content = path.read_text()
    stanzas = re.split(r"^(?=[a-z0-9])", content, flags=re.MULTILINE)
    assert [stanza.split()[0] for stanza in stanzas if stanza.strip() and "--hash=sha256:" not in stanza] == []
    assert not re.search(r"://|--(extra-)?index-url|--find-links", content)


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_file_of_the_rooms_is_longer_than_a_reader_can_hold() -> None:
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in python_files()}
    assert {path: count for path, count in lines.items() if count > MOST_LINES and path not in LONGER} == {}


def python_files() -> list[str]:
    return [str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py")]


# in pieces, so that this file may be searched too
HOSTS = tuple(name + ".org" for name in ("pypi", "pythonhosted", "maven", "maven.apache", "npmjs", "proxy.golang"))
FOLDERS = re.compile(r"(?<![\w.])/(wor" + r"k|root|Use" + r"rs)/\w")


def test_no_tracked_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    found = []
    for path in tracked():
        try:
            content = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {host}" for host in HOSTS if host in content]
        found += [f"{path.relative_to(ROOT)}: {place.group()}" for place in FOLDERS.finditer(content)]
    assert not found
