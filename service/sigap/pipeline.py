"""The way of the data, on one screen. Knows no HTTP, torch or Triton."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sigap.core.contract import Contract, Model
from sigap.core.errors import EngineUnavailable, ModelReplaced, UnknownTask
from sigap.core.levels import ThresholdLevels
from sigap.core.measurement import Measurements
from sigap.core.result import Result
from sigap.core.segmentation import Notice, Segmentation
from sigap.core.study import DecodeOptions, InputFile, Limits, Study, Volume
from sigap.encoders.nifti import affine_notice
from sigap.engines.engine import Engine
from sigap.imaging import measure, postprocess
from sigap.imaging.batches import slice_batches
from sigap.imaging.decode import decode

Stage = Literal["decode", "infer", "postprocess", "measure"]
# Versions of a model that may come and go during one run.
_MOST_VERSIONS = 3


@dataclass(frozen=True)
class RunOptions:
    """What a client asked for beyond the defaults."""

    decode: DecodeOptions = field(default_factory=DecodeOptions)

    def as_json(self) -> dict[str, Any]:
        """Only what was asked for, for the report's provenance."""
        asked = vars(self.decode)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asked.items()
            if value is not None
        }


@dataclass(frozen=True)
class Progress:
    """How far a run is; `slices_total` and `voxels` are 0 until the study is decoded."""

    stage: Stage
    slices_done: int
    slices_total: int
    voxels: int = 0


def run(
    files: Sequence[InputFile],
    *,
    task: str,
    engine: Engine,
    workspace: Path,
    options: RunOptions = RunOptions(),
    limits: Limits = Limits(),
    sha256: str | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    accept: Callable[[Study], None] = lambda _: None,
) -> Result:
    """Decode, segment and measure one study.

    Args:
        files: what was sent, in any order.
        task: a model's name.
        engine: runs the model.
        workspace: an empty folder for unpacked files; the caller deletes it.
        options: what the client asked for.
        limits: caps on the decoded size.
        sha256: of `files`, where the caller already knows it.
        progress: told before each stage and after each batch; what it raises (`Cancelled`, `DeadlineExceeded`) ends
            the run.
        accept: looks at the decoded study before the model does; what it raises ends the run too.

    Raises:
        SigapError: see core.errors.
    """
    model = engine.model(task)
    clock = _Clock()
    progress(Progress("decode", 0, 0))
    with clock.stage("decode"):
        study = decode(
            files,
            workspace=workspace,
            options=options.decode,
            limits=limits,
            sha256=sha256,
            check=lambda: progress(Progress("decode", 0, 0)),
        )
    accept(study)
    volume, total = study.volume, study.volume.grid.shape[0]

    def reach(stage: Stage, slices_done: int = total) -> None:
        progress(Progress(stage, slices_done, total, volume.voxels.size))

    with clock.stage("infer"):
        model, levels = infer_by_one_version(volume, model, engine, lambda done: reach("infer", done))
    contract = model.contract
    reach("postprocess")
    with clock.stage("postprocess"):
        segmentation = postprocess.segment(levels, volume, contract, check=lambda: reach("postprocess"))
    reach("measure")
    with clock.stage("measure"):
        measurements = measure.measure(segmentation, volume, contract)
    return Result(
        study=study,
        model=model,
        segmentation=segmentation,
        measurements=measurements,
        warnings=_notices(study, segmentation, measurements, contract),
        engine=engine.name,
        options=options.as_json(),
        created=datetime.now(UTC),
        timings_ms=clock.spent_ms,
    )


def infer_by_one_version(
    volume: Volume, model: Model, engine: Engine, progress: Callable[[int], None]
) -> tuple[Model, ThresholdLevels]:
    """Run a model over a volume; where its version is replaced meanwhile, start over with the one that is there now.

    Returns:
        The version that has answered, the whole volume, and its answer.
    """
    for _ in range(_MOST_VERSIONS):
        try:
            return model, infer(volume, model, engine, progress)
        except ModelReplaced:
            try:
                model = engine.model(model.name)
            except UnknownTask as error:
                raise EngineUnavailable("The model is being replaced. Try again in a moment.") from error
    raise EngineUnavailable("The model is replaced again and again. Try again in a moment.")


def infer(volume: Volume, model: Model, engine: Engine, progress: Callable[[int], None]) -> ThresholdLevels:
    """Run a model over a volume, batch by batch; of the probabilities only the thresholds they pass are kept."""
    levels = ThresholdLevels(model.contract.labels, volume.grid.shape)
    kept = volume.grid.orientation.to_canonical(levels.packed())
    done = 0
    progress(done)
    batches = (batch for _, batch in slice_batches(volume, model.contract, model.max_batch_size))
    with closing(engine.infer_all(model, batches, check=lambda: progress(done))) as answers:
        for probabilities in answers:
            kept[:, done : done + len(probabilities)] = levels.pack(probabilities)
            done += len(probabilities)
            progress(done)
    return levels


def _notices(
    study: Study, segmentation: Segmentation, measurements: Measurements, contract: Contract
) -> tuple[Notice, ...]:
    """All warnings about the answer: of the steps, the numbers, the input's tags and the mask's affine."""
    affine = affine_notice(study.volume)
    return (
        *segmentation.warnings,
        *measure.measurement_notices(segmentation, measurements, contract),
        *measure.expectation_notices(study.origin, contract),
        *((affine,) if affine else ()),
    )


class _Clock:
    """Milliseconds spent in each stage."""

    def __init__(self) -> None:
        self.spent_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.spent_ms[name] = (time.perf_counter() - started) * 1000
