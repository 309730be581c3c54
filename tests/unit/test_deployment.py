"""docker-compose.yml, the Dockerfiles, dashboards and manifests keep their promises, without a container engine."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

import sigap
from conftest import ROOT
from fakes import FakeEngine
from serving import serving
from sigap.access.keys import KeyFile, digest
from sigap.api.app import create_app
from sigap.dicomnet.configuration import read_pacs
from sigap.settings import Settings, variable

DOCKER = ROOT / "docker"
COMPOSE_FILES = sorted(ROOT.glob("docker-compose*.yml"))
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
MANIFESTS = sorted(path for path in (DOCKER / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
OWN_IMAGE = re.compile(rf"sigap-(gateway|triton):{re.escape(sigap.__version__)}")
EXACT_IMAGE = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9]+)*")
# Published by Triton where there is a GPU; elsewhere its metrics page does not name them.
GPU_METRICS = {"nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes"}
# Triton's documentation, "Metrics"; `make compose-test` asks a running one for them.
TRITON_METRICS = {
    "nv_cpu_utilization",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_pending_request_count",
    "nv_inference_queue_duration_us",
    "nv_inference_request_success",
}


def read(path: Path, **variables: str) -> dict[str, Any]:
    """A compose file with its variables at these values, else at their defaults."""
    text = re.sub(
        r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), path.read_text(encoding="utf-8")
    )
    assert "${" not in text, "a variable without a default: a first start must need no file"
    return dict(yaml.safe_load(text))


SERVICES: dict[str, dict[str, Any]] = read(ROOT / "docker-compose.yml")["services"]


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SERVICES[request.param]


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.name)
def test_compose_files_follow_the_specification(path: Path) -> None:
    compose = PyCompose.from_json(json.dumps(read(path)))
    compose.validate()


def test_a_misspelt_key_of_a_compose_file_would_be_found() -> None:
    document = read(ROOT / "docker-compose.yml")
    document["services"]["triton"]["mem_limits"] = "8g"
    with pytest.raises(ValueError, match="mem_limits"):
        PyCompose.from_json(json.dumps(document))


def test_every_image_is_pinned_to_an_exact_version(service: dict[str, Any]) -> None:
    assert OWN_IMAGE.fullmatch(service["image"]) if "build" in service else EXACT_IMAGE.fullmatch(service["image"])


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_base_image_is_pinned_to_an_exact_version(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases
    assert all(base in stages or EXACT_IMAGE.fullmatch(base) for base in bases)
    assert re.findall(r"^USER \d+:\d+$", text, re.MULTILINE), "it would run as root"


def test_only_the_proxy_can_be_reached_and_only_it_reaches_out() -> None:
    document = read(ROOT / "docker-compose.yml")
    # Of the optional ones, those that speak DICOM have a port of their own.
    doors = {"proxy", "listen", "orthanc"}
    assert {name for name, service in SERVICES.items() if "ports" in service} == doors
    assert {name for name in doors if "profiles" not in SERVICES[name]} == {"proxy"}
    outside = {name for name, network in document["networks"].items() if not (network or {}).get("internal")}
    assert outside == {"outside"}
    for name, service in SERVICES.items():
        assert "networks" in service or service.get("network_mode") == "none", name
        assert name in doors or not outside & set(service.get("networks", ())), name


def test_no_secret_stands_in_an_environment(service: dict[str, Any]) -> None:
    for name, value in service.get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|TOKEN|KEY", name):
            assert name.endswith("_FILE")
            assert str(value).startswith("/secrets/")
        assert not re.search(r"://[^/@]*:[^/@]+@", str(value)), "a password in an address"


def test_what_a_service_may_do_and_take_is_limited(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] in ("unless-stopped", "on-failure")
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


def test_volumes_have_names_and_files_are_there(service: dict[str, Any]) -> None:
    named = set(read(ROOT / "docker-compose.yml")["volumes"])
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert volume.endswith(":ro")
        else:
            assert source in named


def test_settings_that_are_passed_on_are_settings() -> None:
    known = {variable(name) for name in Settings.model_fields}
    for name in ("gateway", "init"):
        assert {key for key in SERVICES[name]["environment"] if key.startswith("SIGAP_")} <= known


def test_the_pacs_file_of_the_stack_can_be_read_and_names_its_services() -> None:
    pacs = read_pacs(DOCKER / "pacs" / "pacs.toml")
    assert pacs.listener is not None
    hosts = {urlsplit(address).hostname for address in (pacs.sources["orthanc"].url, pacs.listener.gateway)}
    assert hosts | {peer.host for peer in pacs.peers.values()} == {"orthanc", "gateway"} <= set(SERVICES)
    tasks = {path.parent.name for path in (ROOT / "model_repository").glob("*/config.pbtxt")}
    assert {rule.task for rule in pacs.rules} == tasks
    orthanc = json.loads((DOCKER / "orthanc" / "orthanc.json").read_text(encoding="utf-8"))
    assert orthanc["DicomModalities"]["sigap"] == [pacs.listener.ae_title, "listen", pacs.listener.port]
    assert orthanc["DicomPort"] == pacs.peers["orthanc-dimse"].port


def test_the_gpu_comes_from_a_file_of_its_own() -> None:
    added = read(ROOT / "docker-compose.gpu.yml")["services"]
    assert list(added) == ["triton"]
    assert added["triton"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_dockerfiles_copy_is_not_kept_from_them(path: Path) -> None:
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    lines = re.findall(r"^COPY (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    named = [word for line in lines if "--from=" not in line for word in line.split()[:-1] if not word.startswith("-")]
    assert named
    assert [word for word in named if f"!{word}" not in kept] == []


def test_dockerfiles_are_clean() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    ended = subprocess.run([str(hadolint), *map(str, DOCKERFILES)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


def dashboard_expressions() -> Iterator[str]:
    board = json.loads((DOCKER / "grafana" / "dashboards" / "sigap.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def alert_expressions() -> Iterator[str]:
    for group in yaml.safe_load((DOCKER / "alerts.yml").read_text(encoding="utf-8"))["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def exposed(data: Path) -> set[str]:
    """Names of the series that a running gateway's metrics page can have."""
    with serving(create_app(Settings(data=data), FakeEngine())) as client:
        page = client.get("/metrics").raise_for_status().text
    families = re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE)
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {family + suffix for family, kind in families for suffix in suffixes.get(kind, ("",))}


@pytest.mark.parametrize("expressions", [dashboard_expressions, alert_expressions])
def test_only_metrics_that_exist_are_asked_for(expressions: Any, tmp_path: Path) -> None:
    asked = set(re.findall(r"\b(?:sigap|nv)_\w+", " ".join(expressions())))
    assert asked
    assert {name for name in asked if name.startswith("sigap_")} <= exposed(tmp_path)
    assert {name for name in asked if name.startswith("nv_")} <= TRITON_METRICS | GPU_METRICS


def test_what_alerts_at_the_first_event_is_there_before_it(tmp_path: Path) -> None:
    """A series that begins with its first event has risen from nowhere: Prometheus would see no change."""
    with serving(create_app(Settings(data=tmp_path), FakeEngine())) as client:
        page = client.get("/metrics").raise_for_status().text
    found = [re.search(r'(sigap_\w+)\{(\w+="\w+")\}.* > 0$', expression) for expression in alert_expressions()]
    watched = [match.groups() for match in found if match]
    assert len(watched) == 2
    for name, label in watched:
        assert re.search(rf"^{name}\{{.*{label}.*\}} 0\.0$", page, re.MULTILINE)


def test_prometheus_reads_its_key_from_a_file_and_finds_replicas_by_name() -> None:
    jobs = yaml.safe_load((DOCKER / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    assert {job["job_name"]: job["dns_sd_configs"][0]["names"] for job in jobs} == {
        "gateway": ["gateway"],
        "triton": ["triton"],
    }
    assert jobs[0]["authorization"]["credentials_file"].startswith("/secrets/")
    assert any(volume.startswith("secret-metrics:/secrets/metrics") for volume in SERVICES["prometheus"]["volumes"])


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_what_kubernetes_takes(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_all_manifests_are_listed() -> None:
    listed = yaml.safe_load((DOCKER / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS]


def gateway_pod() -> dict[str, Any]:
    documents = yaml.safe_load_all((DOCKER / "kubernetes" / "gateway.yaml").read_text(encoding="utf-8"))
    return dict(
        next(document for document in documents if document["kind"] == "Deployment")["spec"]["template"]["spec"]
    )


def test_a_gateway_in_kubernetes_can_be_reached_while_triton_is_away() -> None:
    (container,) = gateway_pod()["containers"]
    assert container["startupProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/live"


def test_pods_that_start_at_once_or_are_killed_make_the_first_keys_once(tmp_path: Path) -> None:
    (first_key,) = gateway_pod()["initContainers"]
    command = [*first_key["command"], first_key["args"][0].replace("/data", str(tmp_path))]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "SIGAP_DATA": str(tmp_path), "HOME": str(tmp_path)}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    # Of a pod that was killed before its key was made, or after.
    (tmp_path / "admin.key").touch()
    KeyFile(tmp_path).add("prometheus")
    pods = [start(), start()]
    assert [pod.wait(60) for pod in pods] == [0, 0]
    written = {name: (tmp_path / f"{name}.key").read_text().strip() for name in ("admin", "prometheus")}
    keys = {key.name: key for key in KeyFile(tmp_path).read() or ()}
    assert {name: key.is_of(digest(written[name])) for name, key in keys.items()} == {"admin": True, "prometheus": True}
    assert (keys["admin"].is_admin, keys["prometheus"].is_admin) == (True, False)
    # Whoever has taken the first key away does not find another one.
    (tmp_path / "admin.key").unlink()
    assert start().wait(60) == 0
    assert not (tmp_path / "admin.key").exists()
    assert KeyFile(tmp_path).read() == tuple(sorted(keys.values(), key=lambda key: key.name))


def test_a_wheel_has_everything_that_the_packages_have(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    runpy.run_path(str(DOCKER / "bundle" / "build.py"))["copy_sources"](sources)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*command, str(tmp_path), str(sources)], check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = set(wheel.namelist())
    for folder in (ROOT / "service" / "sigap", ROOT / "training" / "sigap_training"):
        files = {
            path.relative_to(folder.parent).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert files <= packed


def test_a_damaged_bundle_is_not_installed(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "install").write_bytes((DOCKER / "bundle" / "install").read_bytes())
    (bundle / "weights").write_text("0")
    (bundle / "SHA256SUMS").write_text(f"{'0' * 64}  weights\n")
    ended = subprocess.run(
        ["sh", str(bundle / "install")], env={"PREFIX": str(tmp_path / "here"), "PATH": "/usr/bin:/bin"}, check=False
    )
    assert ended.returncode != 0
    assert not (tmp_path / "here").exists()
