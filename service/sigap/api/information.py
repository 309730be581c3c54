"""What the server says about itself: tasks, version, health, metrics."""

from typing import Any, Literal, get_args

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from sigap import __version__
from sigap.api.admission import OPEN
from sigap.api.examples import problem_responses
from sigap.api.gateway import Gateway, model_card
from sigap.api.metrics import MEDIA_TYPE
from sigap.core.contract import Contract, Label, Model
from sigap.core.study import Kind
from sigap.encoders.dicom.source import check_source
from sigap.encoders.formats import FORMATS, SURFACE, Format
from sigap.encoders.stl import check_spacing

router = APIRouter(tags=["information"], responses=problem_responses(500))


class CodeEntry(BaseModel):
    """What DICOM calls a label (scheme SCT, SNOMED CT)."""

    scheme: Literal["SCT"] = "SCT"
    category: str
    type: str
    region: str | None


class LabelEntry(BaseModel):
    """One label of a task."""

    value: int = Field(description="In the mask; COCO's category id.")
    name: str
    role: Literal["organ", "lesion"]
    parent: str | None = Field(description="The label that contains it.")
    code: CodeEntry
    colour: tuple[int, int, int] = Field(description="sRGB.")
    thresholds: tuple[float, float, float] = Field(description="The middle one makes the mask, all three the interval.")

    @classmethod
    def of(cls, value: int, label: Label) -> "LabelEntry":
        code = CodeEntry(category=label.code.category, type=label.code.type, region=label.code.region)
        return cls(
            value=value,
            name=label.name,
            role=label.role,
            parent=label.parent,
            code=code,
            colour=label.colour,
            thresholds=label.thresholds,
        )


class Window(BaseModel):
    """The display window of the model's input."""

    level_hu: float
    width_hu: float


class Expectations(BaseModel):
    """What the model was made for."""

    body_parts: list[str] = Field(description="Values of Body Part Examined; empty: any.")
    contrast: bool | None = Field(description="Contrast medium; null: either.")


class ModelCard(BaseModel):
    """What is known about the model."""

    sensitivity: str = Field(description="What a negative answer is worth.")
    text: str | None = Field(description="The card, Markdown.")


class ModelEntry(BaseModel):
    """One task and the model behind it."""

    name: str = Field(description="The task's and the model's name.")
    version: str
    sha256: str
    labels: list[LabelEntry]
    window: Window
    context_slices: int
    postprocess: list[dict[str, Any]]
    measures: list[str]
    priority: Literal["emergency", "routine", "batch"] = Field(description="Of a request that names none.")
    expects: Expectations
    model_card: ModelCard

    @classmethod
    def of(cls, model: Model, card: str | None) -> "ModelEntry":
        contract = model.contract
        return cls(
            name=model.name,
            version=model.version,
            sha256=model.sha256,
            model_card=ModelCard(sensitivity=contract.sensitivity, text=card),
            **_meaning(contract),
        )


def _meaning(contract: Contract) -> dict[str, Any]:
    return {
        "labels": [LabelEntry.of(value, label) for value, label in enumerate(contract.labels, 1)],
        "window": Window(level_hu=contract.level_hu, width_hu=contract.width_hu),
        "context_slices": contract.context_slices,
        "postprocess": [step.as_json() for step in contract.postprocess],
        "measures": list(contract.measures),
        "priority": contract.priority,
        "expects": Expectations(body_parts=list(contract.body_parts), contrast=contract.contrast),
    }


class FormatEntry(BaseModel):
    """A form that an answer can be asked for in."""

    name: str = Field(description="In `format=`.")
    media_type: str
    filename: str
    inputs: list[Kind] = Field(description="Kinds of input that it can be made of; of others it is 406.")
    needs_spacing: bool = Field(description="Whether it is 406 where a distance of voxels is not known.")
    is_per_label: bool = Field(description="Whether it is of one label, which `label=` names.")

    @classmethod
    def of(cls, encoding: Format) -> "FormatEntry":
        return cls(
            name=encoding.name,
            media_type=encoding.media_type,
            filename=encoding.filename,
            inputs=["dicom"] if encoding.check is check_source else list(get_args(Kind)),
            needs_spacing=encoding.check is check_spacing,
            is_per_label=encoding.name == SURFACE,
        )


class Models(BaseModel):
    """All tasks of this server, and the forms of its answers."""

    models: list[ModelEntry]
    formats: list[FormatEntry]

    @classmethod
    def of(cls, entries: list[ModelEntry]) -> "Models":
        return cls(models=entries, formats=[FormatEntry.of(encoding) for encoding in FORMATS.values()])


class Version(BaseModel):
    """What answers."""

    name: Literal["sigap"] = "sigap"
    version: str
    engine: str


class Health(BaseModel):
    """A health check that passed."""

    status: Literal["ok"] = "ok"


@router.get("/models", summary="The tasks and their models")
def models(request: Request) -> Models:
    """Every task that `POST /segment/{task}` answers: labels, codes, window, thresholds, version and model card."""
    gateway: Gateway = request.app.state.gateway
    cards = gateway.settings.models
    return Models.of([ModelEntry.of(model, model_card(cards, model)) for model in gateway.engine.models()])


@router.get("/version", summary="The server's version")
async def version(request: Request) -> Version:
    """The version of the gateway and the engine behind it."""
    gateway: Gateway = request.app.state.gateway
    return Version(version=__version__, engine=gateway.engine.name)


@router.get("/health/live", summary="Is the process alive?", openapi_extra=OPEN)
async def live() -> Health:
    """200 as long as the process answers at all."""
    return Health()


@router.get(
    "/health/ready", summary="Would a study be answered now?", responses=problem_responses(503), openapi_extra=OPEN
)
def ready(request: Request) -> Health:
    """200 once every model is loaded and warm, and while the job store can be reached; else 503."""
    gateway: Gateway = request.app.state.gateway
    gateway.check_ready()
    gateway.check_database()
    return Health()


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": "sigap_stored_bytes 0.0\n"}}}},
)
async def metrics(request: Request) -> Response:
    """Requests, jobs, waiting times, stage durations, slices and model versions; nothing about a patient."""
    gateway: Gateway = request.app.state.gateway
    return Response(gateway.metrics.exposition(), media_type=MEDIA_TYPE)
