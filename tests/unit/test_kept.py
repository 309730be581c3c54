"""A kept result answers as the result itself would, in every format, or not at all."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import toy
from phantoms.dicom import positions_at, write_series
from phantoms.nifti import gzipped, nifti_bytes
from phantoms.pictures import encoded
from phantoms.results import picture_grid, result_of, small_labelmap
from sigap import pipeline
from sigap.core.errors import FormatNotForInput, KeptUnreadable
from sigap.core.result import Result
from sigap.core.segmentation import Dropped, Notice, Segmentation
from sigap.core.study import DecodeOptions, InputFile, Limits
from sigap.encoders.formats import FORMATS, format_of, surface_key
from sigap.engines.torchscript import TorchScriptEngine
from sigap.imaging.decode import decode
from sigap.jobs.kept import REPORT, keep, kept_report, restore

FILES = ("labelmap.gz", "numbers.json.gz")
Input = tuple[list[InputFile], DecodeOptions]


def scene(shape: tuple[int, int, int] = (7, 24, 30)) -> NDArray[np.int16]:
    """A body with two blobs in it, and a piece beside it that post-processing drops; nothing in it is symmetric."""
    voxels = np.full(shape, toy.AIR_HU, np.int16)
    voxels[1:6, 3:20, 4:22] = toy.ORGAN_HU
    voxels[2:4, 5:9, 6:12] = voxels[4, 12:18, 15:17] = toy.LESION_HU
    voxels[3, 21:23, 26:29] = toy.ORGAN_HU
    return voxels


def series(folder: Path, **more: Any) -> Input:
    return [InputFile(path, path.name) for path in write_series(folder / "series", scene(), **more)], DecodeOptions()


def one_file(folder: Path, content: bytes, **options: Any) -> Input:
    (folder / "upload").write_bytes(content)
    return [InputFile(folder / "upload", "upload")], DecodeOptions(**options)


def nifti_content(voxels: NDArray[Any], **more: Any) -> bytes:
    affine = np.array([[0, -0.5, 0, 9.5], [0.75, 0, 0, 3], [0, 0, -2, 1], [0, 0, 0, 1.0]])
    return nifti_bytes(voxels.T, affine, **more)


SHADES = np.clip((scene()[3].astype(np.int32) + 200) * 255 // 400, 0, 255).astype(np.uint8)
UNEVEN = positions_at([0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0])
INPUTS: dict[str, Callable[[Path], Input]] = {
    "a series": series,
    "a series of air": lambda folder: (
        [InputFile(path, "x") for path in write_series(folder / "air", np.full((3, 16, 16), -1000, np.int16))],
        DecodeOptions(),
    ),
    "a tilted series": lambda folder: series(folder, positions_lps_mm=UNEVEN + np.outer(np.arange(7), [0, 1.5, 0])),
    "NIfTI": lambda folder: one_file(folder, nifti_content(scene())),
    "NIfTI-2, big-endian, gzip": lambda folder: one_file(
        folder, gzipped(nifti_content(scene(), version=2, byte_order=">"))
    ),
    "NIfTI with fractions": lambda folder: one_file(folder, nifti_content(scene() + np.float32(0.25))),
    "PNG": lambda folder: one_file(folder, encoded(SHADES, "PNG")),
    "PNG of known size": lambda folder: one_file(
        folder, encoded(SHADES, "PNG"), pixel_spacing_mm=(0.5, 0.7), slice_thickness_mm=5.0
    ),
    "JPEG": lambda folder: one_file(folder, encoded(SHADES, "JPEG")),
}


@pytest.fixture(scope="module")
def engine(toy_repository: Path) -> Iterator[TorchScriptEngine]:
    loaded = TorchScriptEngine.load(toy_repository)
    yield loaded
    loaded.close()


@pytest.fixture(params=INPUTS)
def answered(request: pytest.FixtureRequest, engine: TorchScriptEngine, tmp_path: Path) -> tuple[Result, Input]:
    files, options = given = INPUTS[request.param](tmp_path)
    (tmp_path / "work").mkdir()
    run_options = pipeline.RunOptions(decode=options)
    result = pipeline.run(files, task="toy", engine=engine, workspace=tmp_path / "work", options=run_options)
    return result, given


def encodings(result: Result, folder: Path) -> dict[str, bytes]:
    written = {}
    for name, answer in FORMATS.items():
        try:
            answer.check(result.study)
        except FormatNotForInput:
            continue
        if name == "stl":
            answer = format_of(surface_key(result.model.contract.labels[0].name))  # noqa: PLW2901 - HTTP names a label
        answer.write(result, folder / answer.filename)
        written[name] = (folder / answer.filename).read_bytes()
    return written


def assert_same(one: Any, other: Any, place: str = "result") -> None:
    """Equal in every field, to the last bit, arrays and all that is within included."""
    if is_dataclass(one):
        assert type(one) is type(other), place
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name), f"{place}.{field.name}")
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), place
        assert np.array_equal(one, other), place
    elif isinstance(one, dict):
        assert list(one) == list(other), place
        for key, value in one.items():
            assert_same(value, other[key], f"{place}[{key}]")
    elif isinstance(one, tuple):
        assert len(one) == len(other), place
        for position, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{place}[{position}]")
    else:
        assert (type(one), one) == (type(other), other), place


def test_every_format_is_the_same_before_and_after_a_restart(answered: tuple[Result, Input], tmp_path: Path) -> None:
    result, (files, options) = answered
    returned = keep(result, tmp_path / "kept")
    (tmp_path / "again").mkdir()
    restored = restore(tmp_path / "kept", decode(files, workspace=tmp_path / "again", options=options, limits=Limits()))

    written = encodings(returned, tmp_path)
    assert written["json"] == kept_report(tmp_path / "kept")
    assert encodings(restored, tmp_path) == written
    assert_same(replace(returned, study=result.study), replace(restored, study=result.study))


def test_nothing_changes_but_the_timings(answered: tuple[Result, Input], tmp_path: Path) -> None:
    result, _ = answered
    returned = keep(result, tmp_path / "kept")
    assert_same(replace(returned, timings_ms=dict(result.timings_ms)), result)
    assert returned.timings_ms.keys() - result.timings_ms.keys() == {"encode", "total"}
    stages = [spent for stage, spent in returned.timings_ms.items() if stage != "total"]
    assert returned.timings_ms["total"] == pytest.approx(sum(stages))


def rich_result() -> Result:
    """Whatever a result can hold and the toy's do not."""
    base = result_of(small_labelmap())
    counts = np.arange(12, dtype=np.int64).reshape(3, 4)
    return replace(
        base,
        segmentation=Segmentation(
            base.segmentation.labelmap,
            dropped={"tumour": Dropped(3, np.array([0, 9, 0, 1])), "liver": Dropped(0, np.zeros(4, np.int64))},
            slice_voxels={"tumour": counts, "liver": counts * 2**40},
            warnings=(Notice("skull_not_found", "Über 5 mm²."),),
        ),
        measurements=replace(base.measurements, measures={"b": None, "a": 0.1 + 0.2}),
        warnings=(Notice("organ_cut", "One."), Notice("organ_cut", "Two.")),
        options={"pixel_spacing_mm": [0.5, 1], "deep": {"none": None, "yes": True}},
        created=datetime(2026, 11, 22, 12, 30, 1, 2, tzinfo=timezone(timedelta(hours=7))),
        timings_ms={"decode": 1 / 3, "encode": 5.5},
        sigap_version="0.0.9",
    )


def test_everything_that_a_result_can_hold_is_kept(tmp_path: Path) -> None:
    result = rich_result()
    returned = keep(result, tmp_path / "kept")
    assert_same(restore(tmp_path / "kept", result.study), returned)
    assert returned.created == result.created
    # The wall clock is written with its zone; what class the zone is of makes no difference.
    same_zone = replace(returned, created=result.created, timings_ms=result.timings_ms)
    # Contracts made by hand hold whole numbers where the real ones hold floats.
    assert_same(replace(same_zone, model=result.model), result)
    assert returned.model == result.model


def test_what_is_told_of_the_timings_stays(tmp_path: Path) -> None:
    told = {"decode": 1.0, "encode": 2.0, "total": 9.0}
    returned = keep(replace(rich_result(), timings_ms=told), tmp_path / "kept")
    assert returned.timings_ms == told


def test_the_report_says_which_version_found_the_numbers(tmp_path: Path) -> None:
    returned = keep(rich_result(), tmp_path / "kept")
    assert json.loads(kept_report(tmp_path / "kept") or b"")["provenance"]["sigap_version"] == "0.0.9"
    assert b"sigap 0.0.9" in encodings(returned, tmp_path)["coco"]


def test_numpys_scalars_become_pythons(tmp_path: Path) -> None:
    result = result_of(small_labelmap())
    label, lesion = result.measurements.labels[0], result.measurements.lesions[0]
    numbers = replace(
        result.measurements,
        labels=(
            replace(label, voxels=np.int64(18), volume_ml=np.float64(0.1), dropped_components=np.int32(1)),
            *result.measurements.labels[1:],
        ),
        lesions=(replace(lesion, key_slice=np.int64(1), volume_ml=np.float32(0.5), abc2_disagrees=np.bool_(1)),),
    )
    returned = keep(
        replace(result, measurements=numbers, options={"x": np.int16(3), "y": [np.float32(0.5)]}), tmp_path / "kept"
    )
    plain = replace(
        result.measurements,
        labels=(replace(label, voxels=18, volume_ml=0.1, dropped_components=1), *result.measurements.labels[1:]),
        lesions=(replace(lesion, key_slice=1, volume_ml=0.5, abc2_disagrees=True),),
    )
    assert_same(returned.measurements, plain)
    assert_same(dict(returned.options), {"x": 3, "y": [0.5]})
    assert_same(restore(tmp_path / "kept", result.study), returned)


@pytest.mark.parametrize("place", [(0, 0, 0), (3, 4, 5), (2, 0, 5)])
def test_a_single_voxel_stays_in_its_place(tmp_path: Path, place: tuple[int, int, int]) -> None:
    labelmap = np.zeros((4, 5, 6), np.uint8)
    labelmap[place] = 2
    result = result_of(labelmap)
    keep(result, tmp_path / "kept")
    assert np.array_equal(restore(tmp_path / "kept", result.study).segmentation.labelmap, labelmap)


@pytest.mark.parametrize("order", ["flipped", "transposed", "fortran"])
def test_a_labelmap_may_lie_in_memory_as_it_likes(tmp_path: Path, order: str) -> None:
    made = small_labelmap((5, 6, 6))
    labelmap = {"flipped": made[::-1, ::-1], "transposed": made.swapaxes(1, 2), "fortran": np.asfortranarray(made)}
    result = result_of(labelmap[order])
    keep(result, tmp_path / "kept")
    assert np.array_equal(restore(tmp_path / "kept", result.study).segmentation.labelmap, labelmap[order])


def test_a_label_of_nothing_takes_hardly_any_room(tmp_path: Path) -> None:
    result = result_of(np.zeros((64, 256, 256), np.uint8))
    keep(result, tmp_path / "kept")
    assert sum(path.stat().st_size for path in (tmp_path / "kept").iterdir()) < 10_000
    assert not restore(tmp_path / "kept", result.study).segmentation.labelmap.any()


def test_all_is_on_the_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: dict[str, int] = {}
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        synced[path.name] = path.stat().st_size if path.is_file() else 0
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    keep(result_of(small_labelmap()), tmp_path / "kept")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "kept").iterdir()}
    assert synced == {**sizes, "kept": 0}
    assert list(synced)[-1] == "kept"
    assert sizes.keys() == {*FILES, REPORT}


def test_a_folder_is_for_one_result_and_for_its_owner(tmp_path: Path) -> None:
    keep(rich_result(), tmp_path / "kept")
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileExistsError):
        keep(rich_result(), tmp_path / "kept")


def test_a_number_that_is_not_finite_is_never_kept(tmp_path: Path) -> None:
    result = rich_result()
    broken = replace(result, measurements=replace(result.measurements, measures={"a": math.nan}))
    with pytest.raises(ValueError, match="JSON"):
        keep(broken, tmp_path / "kept")


def test_a_labelmap_that_does_not_fit_is_never_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shape"):
        keep(result_of(small_labelmap()[:2], grid=result_of(small_labelmap()).study.volume.grid), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("name", FILES)
def test_any_cut_is_noticed(tmp_path: Path, name: str) -> None:
    result = rich_result()
    keep(result, tmp_path / "kept")
    content = (tmp_path / "kept" / name).read_bytes()
    for length in {*range(0, len(content), 5), *range(len(content) - 20, len(content))}:
        (tmp_path / "kept" / name).write_bytes(content[:length])
        with pytest.raises(KeptUnreadable, match="damaged"):
            restore(tmp_path / "kept", result.study)
    (tmp_path / "kept" / name).unlink()
    with pytest.raises(KeptUnreadable, match="damaged"):
        restore(tmp_path / "kept", result.study)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_noticed_or_changes_nothing(tmp_path: Path, name: str) -> None:
    result = rich_result()
    returned = keep(result, tmp_path / "kept")
    content = (tmp_path / "kept" / name).read_bytes()
    # All of head and trailer, some of what is between.
    places = {*range(40), *range(40, len(content), 7), *range(len(content) - 20, len(content))} & {*range(len(content))}
    noticed = 0
    for place in sorted(places):
        changed = bytearray(content)
        changed[place] ^= 0x55
        (tmp_path / "kept" / name).write_bytes(changed)
        try:
            restored = restore(tmp_path / "kept", result.study)
        except KeptUnreadable:
            noticed += 1
        else:
            assert_same(restored, returned)
    # A gzip header has a date and a system that nothing depends on.
    assert noticed >= len(places) - 10


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the numbers' file says, with a good checksum."""
    path = folder / "numbers.json.gz"
    document = json.loads(gzip.decompress(path.read_bytes()))
    change(document)
    path.write_bytes(gzip.compress(json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.update(schema="sigap.kept/2", result=None), "another version.*sigap.kept/2"),
        (lambda document: document.pop("schema"), "damaged"),
        (lambda document: document.pop("result"), "damaged"),
        (lambda document: document["result"].pop("engine"), "damaged"),
        (lambda document: document["result"]["measurements"].pop("lesions"), "damaged"),
        (lambda document: document["result"].update(created="yesterday"), "damaged"),
        (lambda document: document["result"].update(box=[[0, 4], [0, 5], [0, 6]]), "damaged"),
        (lambda document: document["result"].update(box=[[1, 2], [1, 4], [1, 4]]), "damaged"),
        (lambda document: document["result"]["model"]["contract"].update(labels=[]), "damaged"),
        (lambda document: document["result"].update(input_sha256="0" * 64), "not about this study"),
    ],
)
def test_what_another_version_wrote_is_not_guessed_at(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    result = rich_result()
    keep(result, tmp_path / "kept")
    rewritten(tmp_path / "kept", change)
    with pytest.raises(KeptUnreadable, match=message):
        restore(tmp_path / "kept", result.study)


def test_another_study_is_not_answered_with_it(tmp_path: Path) -> None:
    keep(rich_result(), tmp_path / "kept")
    other = result_of(small_labelmap()[1:2], grid=picture_grid(5, 6), kind="png").study
    with pytest.raises(KeptUnreadable, match="not about this study"):
        restore(tmp_path / "kept", other)
