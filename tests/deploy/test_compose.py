"""docker-compose.yml and the Dockerfile: what the specification says of them, and that all they name is there.

No engine is needed. Where the docker client has the compose plugin, `docker compose config` reads the file, too.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from jsonschema import Draft202012Validator

from deploy import cli, settings
from deploy.grafana.frame import FLEET
from deploy.grafana.read_token import FILE
from deploy.health import GroupRole

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas"
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("livetwin:")}
SCHEMA = json.loads((SCHEMAS / "compose-spec.json").read_text())
SETTINGS = {settings.PREFIX + name.upper() for group in settings.GROUPS for name in group.model_fields}


def sources(service: dict[str, Any]) -> list[tuple[str, str]]:
    """(what is mounted, where) of each volume."""
    return [(volume.split(":")[0], volume.split(":")[1]) for volume in service.get("volumes", [])]


def test_the_file_is_what_the_specification_says() -> None:
    assert [f"{fault.json_path}: {fault.message[:300]}" for fault in Draft202012Validator(SCHEMA).iter_errors(COMPOSE)] == []


def test_a_wrong_file_is_told_from_a_right_one() -> None:
    broken = yaml.safe_load(TEXT)
    broken["services"]["kafka"]["port"] = broken["services"]["kafka"].pop("ports")
    assert list(Draft202012Validator(SCHEMA).iter_errors(broken))


def test_docker_compose_reads_it_with_every_profile() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("no docker client with the compose plugin")
    told = [
        docker,
        "compose",
        "--profile",
        "demo",
        "--profile",
        "gpu",
        "-f",
        str(ROOT / "docker-compose.yml"),
        "config",
        "--quiet",
    ]
    answer = subprocess.run(told, capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr


# ── livetwin's services ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", OURS)
def test_settings_of_a_service_exist(name: str) -> None:
    named = {variable for variable in OURS[name].get("environment", {}) if variable.startswith(settings.PREFIX)}
    assert named
    assert named <= SETTINGS


@pytest.mark.parametrize("name", OURS)
def test_the_command_of_a_service_is_one_of_livetwin(name: str) -> None:
    words = list(map(str, OURS[name]["command"]))
    command: Any = typer.main.get_command(cli.app)
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"livetwin {words[0]}"
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if "healthcheck" in service])
def test_the_health_check_of_a_service_is_a_command_that_is_there(name: str) -> None:
    how, command, *words = OURS[name]["healthcheck"]["test"]
    assert how == "CMD"
    if command == "livetwin":
        assert words == ["health", OURS[name]["command"][0]], "the health of another role is asked for"
        assert "health" in typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
        assert words[1] in get_args(GroupRole)
    else:
        assert command in ("python", "test")


def test_every_member_of_a_consumer_group_is_asked_for_its_health() -> None:
    members = {name for name, service in OURS.items() if service["command"][0] in get_args(GroupRole)}
    assert all("healthcheck" in SERVICES[name] for name in members)


def test_every_role_that_runs_alone_has_a_service() -> None:
    assert {"processor", "trainer", "alerting", "gateway", "historian"} <= {service["command"][0] for service in OURS.values()}


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_may_do_no_more_than_it_must(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()


def test_the_gpu_profile_reserves_a_device_for_processor_and_trainer() -> None:
    gpu = {name: service for name, service in SERVICES.items() if service.get("profiles") == ["gpu"]}
    assert {service["command"][0] for service in gpu.values()} == {"processor", "trainer"}
    for service in gpu.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
        assert service["build"]["args"] == {"TORCH": "index"}


# ── what services share ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SERVICES)
def test_volumes_secrets_networks_and_files_of_a_service_are_there(name: str) -> None:
    service = SERVICES[name]
    for source, _ in sources(service):
        assert source in COMPOSE["volumes"] if not source.startswith(".") else (ROOT / source).exists(), source
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    if "build" in service:
        assert (ROOT / service["build"]["dockerfile"]).is_file()
    for variable, value in service.get("environment", {}).items():
        if str(value).startswith("/run/secrets/"):
            assert variable.endswith("_FILE")
            assert Path(value).name in service["secrets"], f"{variable} names a secret that {name} is not given"


@pytest.mark.parametrize("name", SERVICES)
def test_who_is_waited_for_can_say_that_it_is_well(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        if wait["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], other
        else:
            assert SERVICES[other]["restart"] == "on-failure", f"{other} never completes"


def test_ports_are_published_on_loopback_only_and_not_of_services_without_a_way_out() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"
            assert "edge" in service["networks"], f"{name}: nothing comes into an internal network"


def test_images_of_others_are_pinned_to_the_versions_that_are_tested() -> None:
    images = {name: service["image"] for name, service in SERVICES.items() if name not in OURS}
    assert all(re.search(r":v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?$", image) for image in images.values()), images
    version = {name: image.partition("@")[0].rpartition(":")[2].removeprefix("v") for name, image in images.items()}
    jars = (ROOT / "deploy" / "kafka_jars.lock").read_text()
    assert f"org.apache.kafka:kafka_2.13:{version['kafka']} " in jars
    assert (SCHEMAS / f"grafana-{version['grafana']}.json").is_file()
    assert f"mlflow-skinny=={version['mlflow']} " in (ROOT / "requirements.txt").read_text()
    assert version["influxdb"] in (ROOT / "deploy" / "influxd_build.sh").read_text()


def test_grafana_looks_where_the_dashboards_are_written() -> None:
    writer, reader = SERVICES["dashboards"], SERVICES["grafana"]
    ((volume, written),) = sources(writer)
    (read,) = (place for source, place in sources(reader) if source == volume)
    assert writer["command"][-2:] == ["--out", written]
    health = " ".join(writer["healthcheck"]["test"])
    assert f"{written}/dashboards/{FLEET}.json" in health
    assert f"{written}/{FILE}" in health
    assert reader["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{read}/dashboards/{FLEET}.json"


# ── secrets and the image ───────────────────────────────────────────────────────────────────────────────────────────


def test_secrets_are_drawn_once_for_their_owner_alone_and_never_committed(tmp_path: Path) -> None:
    script = ROOT / "deploy" / "make_secrets.sh"
    folder = tmp_path / "secrets"
    runs = []
    for _ in range(2):
        subprocess.run([script, folder], check=True, capture_output=True)
        runs.append({path.name: path.read_text() for path in folder.iterdir()})
    drawn, again = runs
    assert again == drawn, "a second run drew anew"
    assert set(drawn) == set(COMPOSE["secrets"])
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in drawn.values())
    assert len(set(drawn.values())) == len(drawn)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}
    for secret in COMPOSE["secrets"].values():
        ignored = subprocess.run(["git", "check-ignore", "-q", secret["file"]], cwd=ROOT)
        assert ignored.returncode == 0, secret
    assert "deploy/secrets" in (ROOT / ".dockerignore").read_text().splitlines()


def test_the_image_checks_hashes_leaves_no_build_tool_and_runs_as_nobody_special() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    build, final = text.split("\nFROM ")[1:]
    assert re.search(r"^ARG PYTHON=\d+\.\d+\.\d+-slim-\w+$", text, re.MULTILINE)
    assert "uv pip install --require-hashes --no-deps -r requirements.txt" in build
    assert "pip uninstall hatchling editables" in build
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", build, re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        assert f"!{source.split('/')[0]}" in _let_in() or source.startswith("requirements"), source
    owned = re.findall(r"/(data|dashboards)\b", final)
    assert {place for service in OURS.values() for _, place in sources(service)} <= {f"/{place}" for place in owned}


def _let_in() -> list[str]:
    return (ROOT / ".dockerignore").read_text().splitlines()
