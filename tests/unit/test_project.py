"""What the repository promises about itself: pins, licences, layers, commands, documentation."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sigap
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Found by others: pydicom finds its decoders by itself.
PLUGGED_IN = {
    "psycopg",  # SQLAlchemy finds it by the URL
    "pyjpegls",
    "pylibjpeg",
    "pylibjpeg-openjpeg",
    "pylibjpeg-rle",
    "tensorboard",  # behind torch.utils.tensorboard
}
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.fixture(scope="module")
def licences() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / ".ci" / "licences.py"))


def test_every_package_that_set_up_installs_is_pinned_to_what_runs_here(licences: dict[str, Any]) -> None:
    needed = {
        name
        for name in licences["shipped"]("sigap[dev]") - {"sigap"}
        # A CUDA build of torch pins these itself.
        if not name.startswith(("nvidia-", "cuda-")) and name != "triton"
    }
    here = {name: metadata.version(name).removesuffix("+cpu") for name in needed}
    assert {name: pins().get(name) for name in needed} == here


def test_every_requirement_is_imported_or_plugged_in() -> None:
    owners, used = metadata.packages_distributions(), set[str]()
    for path in [*(ROOT / "service").rglob("*.py"), *(ROOT / "training").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            used |= {canonicalize_name(owner) for name in names for owner in owners.get(name.split(".")[0], [])}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = {
        Requirement(line).name
        for line in PROJECT["project"]["dependencies"]
        + extras["postgres"]
        + extras["torch"]
        + extras["training"]
        + extras["triton"]
    }
    assert {canonicalize_name(name) for name in wanted} - used - {"sigap"} == PLUGGED_IN


def test_torch_is_pinned_where_every_installer_sees_it() -> None:
    assert PROJECT["project"]["optional-dependencies"]["torch"][0] == f"torch=={pins()['torch']}"


def test_pins_name_no_build_of_one_machine() -> None:
    assert not [version for version in pins().values() if "+" in version]


@pytest.mark.parametrize(
    ("terms", "is_allowed"),
    [
        ("MIT", True),
        ("LGPL-3.0-or-later", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", True),
        ("MIT OR GPL-2.0-only", True),
        ("GPL-3.0-only", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("GNU Affero General Public License v3", False),
        ("MIT AND GPL-2.0-only", False),
        ("", False),
    ],
)
def test_which_licences_may_be_shipped(licences: dict[str, Any], terms: str, is_allowed: bool) -> None:
    assert licences["is_allowed"](terms) is is_allowed


def test_nothing_shipped_is_under_the_gpl(licences: dict[str, Any]) -> None:
    assert "torch" in licences["shipped"]("sigap[torch]")
    assert licences["main"]() == 0


def test_the_core_knows_numpy_and_the_standard_library_only() -> None:
    allowed = {"numpy", "sigap", *sys.stdlib_module_names}
    for path in (ROOT / "service" / "sigap" / "core").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed, path.name


def test_the_command_line_starts_without_torch_or_numpy() -> None:
    code = "import sys, sigap.cli; print([name for name in ('torch', 'numpy', 'fastapi') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_make_help_lists_every_target() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    listed = subprocess.run(["make"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert {"setup", "setup-system", "run", "test", "check", "bench", "help"} <= set(targets)
    assert all(f"make {target} " in listed for target in targets)


def test_readme_begins_with_the_two_commands() -> None:
    first = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make run", "make test"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text())
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (document.parent / target).exists()]


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs" / "adr" / "README.md").read_text()
    decisions = [path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md")]
    assert decisions
    assert all(name in listed for name in decisions)


def test_one_version_everywhere() -> None:
    assert PROJECT["project"]["version"] == sigap.__version__ == metadata.version("sigap")


def test_ci_runs_checks_and_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text()
    assert "export CI=true" in lines
    assert lines.index("make check") < lines.index("make test")


def test_in_ci_a_skip_is_a_failure_that_names_its_reason(tmp_path: Path) -> None:
    bodies = {
        "skipped": "import pytest\ndef test_it():\n    pytest.skip('no scanner here')\n",
        "module_skipped": "import pytest\npytest.skip('no network here', allow_module_level=True)\n",
        "expected": "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_it():\n    assert False\n",
        "passed": "def test_it():\n    pass\n",
    }
    for name, body in bodies.items():
        (tmp_path / f"test_{name}.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "-p", "no_skips", "-c", os.devnull, "--rootdir", tmp_path, tmp_path]
    options = ["--continue-on-collection-errors", "-p", "no:cacheprovider"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "tests"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    ended = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "1 failed, 1 passed, 1 xfailed, 1 error" in ended.stdout
    assert "no scanner here" in ended.stdout
    assert "no network here" in ended.stdout
