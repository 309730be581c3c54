"""`make bench`: speed and memory against their targets, as a table on the terminal and in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import crowd
import job_checks
import job_pages
import job_path
import job_priority
import job_quota
import page
import speed
import studies
import triton_speed
from server import Server, serving

import toy
import triton_wheel
from sigap.engines.torchscript import TorchScriptEngine
from triton_process import TritonProcess

_PAGE = studies.ROOT / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- make bench: begin -->\n", "<!-- make bench: end -->\n"
_MODELS = studies.ROOT / "model_repository"
_MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One measurement."""

    what: str
    target: str
    measured: str
    holds: bool
    note: str = ""


def main() -> int:
    """Measure everything, or with `--only` a part; the exit status is 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = {"jobs": job_measurements, "triton": triton_measurements, "page": page_measurements}
    parser.add_argument("--only", choices=parts, help="measure these alone, and leave docs/benchmarks.md as it is")
    chosen = parts.get(parser.parse_args().only, measurements)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as folder:
        for row in chosen(Path(folder)):
            rows.append(row)
            print(
                f"{'ok  ' if row.holds else 'MISS'} {row.what}: {row.measured} (target {row.target}) {row.note}",
                flush=True,
            )
    if chosen is measurements:
        write_page(rows)
    return 0 if all(row.holds for row in rows) else 1


def measurements(folder: Path) -> Iterator[Row]:
    """One after the other: nothing else of ours runs beside what is measured."""
    abdomen, what_abdomen = studies.abdomen(folder)
    head, what_head = studies.head(folder)
    yield from request_rows(abdomen, what_abdomen, head, what_head)
    spent = speed.decoding(abdomen)
    yield Row(f"decoding 129 slices ({what_abdomen}, DICOM zip)", "≤ 1 s", f"{spent:.2f} s", spent <= 1)
    spent = speed.starting()
    yield Row("start to ready, all models warm", "< 10 s", f"{spent:.1f} s", spent < 10)
    yield from memory_rows(folder, abdomen, what_abdomen)
    met = crowd.rush("hemorrhage", head)
    yield Row(
        f"{crowd.OFFERED} requests at once where {crowd.TAKEN} are taken",
        "none lost, none wrong, the rest 503 at once",
        f"{met.right} right, {met.refused} refused, {met.other} lost or wrong",
        (met.right, met.refused) == (crowd.TAKEN, crowd.OFFERED - crowd.TAKEN),
        f"slowest refusal {met.slowest_refusal_s:.2f} s",
    )
    yield from page_measurements(folder)
    yield from job_measurements(folder)
    yield from triton_measurements(folder)


def page_measurements(folder: Path) -> Iterator[Row]:
    """What a person waits for in a browser without a graphics card."""
    if not page.is_possible():
        print("The page is not measured: Chromium is not here.")
        return
    abdomen, what = studies.abdomen(folder)
    met = page.watched("liver", abdomen)
    yield Row(
        "the page: asked for → tasks can be chosen", "≤ 1 s", f"{met.interactive_s:.2f} s", met.interactive_s <= 1
    )
    note = f"fetched and unpacked after {met.mask_here_s:.2f} s"
    yield Row(
        f"the page: answer told → its mask drawn ({what})", "≤ 0.5 s", f"{met.mask_s:.2f} s", met.mask_s <= 0.5, note
    )


def triton_measurements(folder: Path) -> Iterator[Row]:
    """A gateway in front of a real Triton on this machine."""
    if reason := triton_wheel.why_not_here():
        print(f"Triton is not measured: {reason}.")
        return
    abdomen, what_abdomen = studies.abdomen(folder)
    head, what_head = studies.head(folder)
    with triton_speed.house() as (triton, gateway):
        for task, path, what in (("liver", abdomen, what_abdomen), ("hemorrhage", head, what_head)):
            yield from triton_request_rows(triton, gateway, task, path, what)
        for clients in (1, 4, 16):
            met = triton_speed.crowd(triton, gateway, clients, "hemorrhage", head)
            spread = ", ".join(f"p{percent} {met.percentile_s(percent):.1f} s" for percent in (50, 95, 99))
            batches = ", ".join(f"{count} of {size}" for size, count in sorted(met.batches.items()))
            yield Row(
                f"{clients} clients at once, Triton ({what_head})",
                "none lost, none wrong",
                f"{met.slices_a_second:.1f} slices/s",
                met.lost == 0,
                f"{spread}; batches: {batches}; {met.lost} lost or wrong",
            )


def triton_request_rows(triton: TritonProcess, gateway: Server, task: str, path: Path, what: str) -> Iterator[Row]:
    """One task over Triton: the whole request, its CPU, and what goes over the wire."""
    met = triton_speed.request(triton, gateway, task, path)
    ratio = met.whole_s / met.bare_s
    stages = ", ".join(f"{name} {spent:.2f}" for name, spent in met.stages_s.items())
    yield Row(
        f"whole request ÷ bare Triton, {task} ({what})",
        "≤ 1.25",
        f"{ratio:.2f}",
        ratio <= 1.25,
        f"{met.whole_s:.2f} s ({stages}) ÷ {met.bare_s:.2f} s; gateway's CPU {met.cpu_ms:.1f} ms a slice",
    )
    sent, least = triton_speed.bytes_a_pixel(triton, task, path)
    yield Row(
        f"bytes to and from Triton for each pixel, {task}", f"{least} (K + C)", f"{sent:.3f}", sent <= 1.01 * least
    )
    shared_ms, sent_ms = triton_speed.hop(triton, task)
    yield Row(
        f"a batch beside Triton's computing, {task}",
        "shared memory is faster",
        f"{shared_ms:.1f} ms",
        shared_ms <= sent_ms,
        f"sent over loopback {sent_ms:.1f} ms",
    )


def job_measurements(folder: Path) -> Iterator[Row]:
    """What it costs that everything posted is a job, and what it brings."""
    abdomen, what_abdomen = studies.abdomen(folder)
    head, what_head = studies.head(folder)
    small = studies.nifti(folder / "small.nii.gz", 4)
    for path, what in ((small, "4 slices, a phantom"), (head, what_head), (abdomen, f"{what_abdomen}, DICOM zip")):
        yield from path_rows(path, what)
    met = job_pages.pages()
    yield Row(
        f"GET /jobs?limit=100 of {job_pages.JOBS_THERE:,} finished jobs",
        "≤ 50 ms",
        f"{met.first_ms:.0f} ms",
        met.first_ms <= 50,
        f"slowest of all pages {met.slowest_ms:.0f} ms",
    )
    yield quota_row()
    yield from check_rows(abdomen, what_abdomen, head, what_head)
    beside = job_priority.emergencies(head, abdomen)
    yield Row(
        f"emergency ({what_head}) beside batch studies ({what_abdomen}) ÷ on an idle server, p95",
        "≤ 1.5",
        f"{beside.p95:.2f}",
        beside.p95 <= 1.5,
        f"idle {beside.idle_s:.2f} s, slowest {beside.most:.2f}; {beside.batches} batch studies ended meanwhile",
    )


def path_rows(path: Path, what: str) -> Iterator[Row]:
    """A request's way around its call of the pipeline: all of it, and what of it is the job's."""
    cost = job_path.cost("liver", path)
    steps = ", ".join(f"{name} {spent:.0f}" for name, spent in cost.steps_ms.items())
    note = f"receiving, hashing and syncing the upload, queue, keeping the result: {steps} ms"
    yield Row(
        f"request less its pipeline call ({what})", "≤ 50 ms", f"{cost.beside_ms:.0f} ms", cost.beside_ms <= 50, note
    )
    note = "queue and keeping the result; no transfer, hashing or syncing of the upload"
    yield Row(f"the job's own part of it ({what})", "≤ 50 ms", f"{cost.own_ms:.0f} ms", cost.own_ms <= 50, note)


def quota_row() -> Row:
    """More studies than there is room for."""
    met = job_quota.crowded()
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(met.statuses.items()))
    return Row(
        f"{job_quota.STUDIES:,} studies where some 300 have room: the most counted and on disk ÷ quota",
        "≤ 1, none lost",
        f"{met.counted:.3f} and {met.real:.3f}",
        max(met.counted, met.real) <= 1 and set(met.statuses) <= {202, 503, 507} and not met.faults,
        f"answers: {statuses}; {len(met.faults)} lost or half written; the quota is {met.quota_bytes / _MIB:.1f} MiB",
    )


def check_rows(abdomen: Path, what_abdomen: str, head: Path, what_head: str) -> Iterator[Row]:
    """How soon a run notices that it was cancelled."""
    engine = TorchScriptEngine.load(_MODELS)
    for task, path, what in (("liver", abdomen, what_abdomen), ("hemorrhage", head, what_head)):
        gaps = job_checks.longest_gaps(engine, task, path)
        longest = max(gaps.values())
        note = ", ".join(f"{stage} {gap:.2f}" for stage, gap in gaps.items())
        yield Row(
            f"longest time between two checks of a run, {task} ({what})",
            "≤ 2 s",
            f"{longest:.2f} s",
            longest <= 2,
            f"{note} s",
        )
    engine.close()


def request_rows(abdomen: Path, what_abdomen: str, head: Path, what_head: str) -> Iterator[Row]:
    """Whole requests against the bare engine."""
    engine = TorchScriptEngine.load(_MODELS)
    with serving() as server:
        for task, path, what in (("liver", abdomen, what_abdomen), ("hemorrhage", head, what_head)):
            met = speed.request(engine, task, path, server.address)
            ratio = met.whole_s / met.bare_s
            stages = ", ".join(f"{name} {spent:.2f}" for name, spent in met.stages_s.items())
            yield Row(
                f"whole request ÷ bare engine, {task} ({what})",
                "≤ 1.25",
                f"{ratio:.2f}",
                ratio <= 1.25,
                f"{met.whole_s:.2f} s ({stages}) ÷ {met.bare_s:.2f} s",
            )
    engine.close()


def memory_rows(folder: Path, abdomen: Path, what_abdomen: str) -> Iterator[Row]:
    """Peak memory of a request, less the model's, in voxels as int16."""
    repository = toy.write_repository(folder / "repository")
    yield memory_row(_MODELS, "liver", abdomen, f"129 slices ({what_abdomen}, DICOM zip)")
    large = folder / "large.nii.gz"
    yield memory_row(repository, "toy", studies.nifti(large, 1600), "1,600 slices (a phantom, NIfTI), toy model")
    files = studies.dicom(folder / "large", 1600)
    yield memory_row(repository, "toy", files, "1,600 slices (a phantom, DICOM files), toy model")
    yield memory_row(
        repository, "toy", studies.nifti(large, 1600, 0.6), "the same as NIfTI, where 60 % of all voxels are organ"
    )


def memory_row(repository: Path, task: str, study: Path, what: str) -> Row:
    """One request in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("memory.py")), str(repository), task, str(study)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    ratio = (answer["peak_bytes"] - answer["model_bytes"]) / (2 * answer["voxels"])
    note = f"model {answer['model_bytes'] / _MIB:.0f} MiB, peak {answer['peak_bytes'] / _MIB:.0f} MiB"
    return Row(f"peak memory less the model ÷ voxels as int16, {what}", "≤ 3", f"{ratio:.2f}", ratio <= 3, note)


def write_page(rows: list[Row]) -> None:
    """Replace the part of the page between the marks."""
    page = _PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    lines = [
        f"Measured {datetime.now(UTC):%Y-%m-%d} with `make bench` on {machine()}.",
        "",
        "| what | target | measured | holds | |",
        "|---|---|---|---|---|",
        *(
            f"| {row.what} | {row.target} | {row.measured} | {'yes' if row.holds else '**no**'} | {row.note} |"
            for row in rows
        ),
        "",
    ]
    _PAGE.write_text(before + _BEGIN + "\n".join(lines) + _END + after, encoding="utf-8")


def machine() -> str:
    """CPU, cores, and how busy others keep it."""
    cpu = Path("/proc/cpuinfo").read_text()
    model = next(
        (line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")), "a CPU"
    )
    return f"{os.cpu_count()} cores of {model} (load average of the last 15 minutes: {os.getloadavg()[2]:.1f})"


if __name__ == "__main__":
    sys.exit(main())
