"""`make bundle`: everything that a machine without a network needs, in one file.

    dist/sigap-VERSION-SYSTEM.tar
        install             puts it in place, asks no network
        SHA256SUMS          of every other file
        sbom.cdx.json       what is in the wheels (CycloneDX)
        wheels/             Sigap and all that it needs, at the versions of constraints.txt
        model_repository/   the weights and their cards
        images/             of docker-compose.yml, where a container engine has them
        compose/            docker-compose.yml and its files
        docs/

Run in the environment of `make setup`.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

import yaml

from sigap import __version__

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = "torch,triton,postgres"
_COMPOSE = ("docker-compose.yml", "docker-compose.gpu.yml", "docker")
_DOCUMENTS = ("README.md", "CHANGELOG.md", "LICENSE", "docs")


def system() -> str:
    """What its wheels run on, such as linux-x86_64-py311."""
    return f"{sysconfig.get_platform()}-py{sys.version_info.major}{sys.version_info.minor}"


def run(*command: str | Path) -> None:
    """Run a program; what it prints is shown, and its failure is ours."""
    subprocess.run([str(part) for part in command], check=True)


def copy_sources(folder: Path) -> None:
    """What a wheel of Sigap is made from."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("service", "training"):
        skip = shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules")
        shutil.copytree(ROOT / name, folder / name, ignore=skip)


def add_wheels(folder: Path, extras: str) -> None:
    """Sigap's own wheel and those of everything it needs."""
    pip = [sys.executable, "-m", "pip"]
    # From a copy: setuptools leaves a folder behind and would pack what an earlier build has left in it.
    with tempfile.TemporaryDirectory() as copy:
        copy_sources(Path(copy))
        run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, copy)
    (own,) = folder.glob("sigap-*.whl")
    constraints = ["--constraint", ROOT / "constraints.txt", "--only-binary", ":all:"]
    run(*pip, "download", "--quiet", *constraints, "--dest", folder, f"{own}[{extras}]")


def add_bill_of_materials(path: Path, wheels: Path, extras: str) -> None:
    """Of an environment made from these wheels alone: one that lacks a wheel fails here, not in the hospital."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "venv", folder)
        python = Path(folder) / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", wheels, f"sigap[{extras}]")
        run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "pip", "setuptools")
        scan = ["environment", python, "--pyproject", ROOT / "pyproject.toml", "--output-reproducible"]
        run(sys.executable, "-m", "cyclonedx_py", *scan, "--spec-version", "1.6", "--output-file", path)


def find_engine() -> str | None:
    """`docker` or `podman`, whichever runs; a client without its server does not count."""
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    return None


def images() -> list[str]:
    """Every image that docker-compose.yml names."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"].values()
    return sorted({service["image"] for service in services})


def add_images(folder: Path) -> None:
    """One archive an image that the engine has; says which it has not."""
    engine = find_engine()
    if engine is None:
        print("No container engine here: the bundle has no images.")
        return
    for image in images():
        if subprocess.run([engine, "image", "inspect", image], capture_output=True, check=False).returncode:
            print(f"{engine} has no {image}: build or pull it first if the bundle is to have it.")
            continue
        folder.mkdir(exist_ok=True)
        run(engine, "save", "--output", folder / f"{image.replace('/', '_').replace(':', '_')}.tar", image)


def add_files(bundle: Path) -> None:
    """The files of the repository that go along as they are."""
    skip = shutil.ignore_patterns("__pycache__", "bundle")
    shutil.copytree(ROOT / "model_repository", bundle / "model_repository")
    for folder, names in (("compose", _COMPOSE), ("docs", _DOCUMENTS)):
        (bundle / folder).mkdir()
        for name in names:
            source, target = ROOT / name, bundle / folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=skip)
            else:
                shutil.copy(source, target)
    for name in ("install", "sigap.service"):
        shutil.copy(ROOT / "docker" / "bundle" / name, bundle / name)


def checksums(bundle: Path) -> Iterable[str]:
    """One line a file, as `sha256sum --check` reads them."""
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            yield f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(bundle)}\n"


def main() -> None:
    """Build the bundle in dist/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", default=EXTRAS, help=f"of the sigap package ({EXTRAS})")
    parser.add_argument("--no-images", action="store_true", help="leave the images out, whatever is here")
    options = parser.parse_args()
    name = f"sigap-{__version__}-{system()}"
    dist = ROOT / "dist"
    dist.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dist) as folder:
        bundle = Path(folder) / name
        wheels = bundle / "wheels"
        wheels.mkdir(parents=True)
        add_wheels(wheels, options.extras)
        add_bill_of_materials(bundle / "sbom.cdx.json", wheels, options.extras)
        if not options.no_images:
            add_images(bundle / "images")
        add_files(bundle)
        (bundle / "extras").write_text(f"{options.extras}\n", encoding="ascii")
        (bundle / "SHA256SUMS").write_text("".join(checksums(bundle)), encoding="utf-8")
        # Wheels are compressed already.
        with tarfile.open(dist / f"{name}.tar", "w") as archive:
            archive.add(bundle, name)
    size_mb = (dist / f"{name}.tar").stat().st_size >> 20
    print(f"dist/{name}.tar: {size_mb} MiB. Prove it with networking off: make bundle-check")


if __name__ == "__main__":
    main()
