"""A Triton model repository on disk, read with Triton's own protobuf classes: the one source of truth about tasks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from sigap.core.contract import Contract, Model
from sigap.core.errors import ModelError
from sigap.imaging.postprocess import check_steps

_BLOCK = 1 << 20
# What Triton takes for a version's folder.
_VERSION = re.compile("[1-9][0-9]*")


def read_repository(folder: Path) -> tuple[Model, ...]:
    """The newest version of every model in a repository, by name.

    Args:
        folder: holds a folder with a config.pbtxt for each task; other folders are not models.

    Raises:
        ModelError: there are no models, or one breaks the contract (CONTRACT, section 9) or is not the file that its
            config names.
    """
    configs = sorted(folder.glob("*/config.pbtxt"))
    if not configs:
        raise ModelError(
            "the model repository holds no model: expected <task>/config.pbtxt and <task>/<version>/model.pt"
        )
    return tuple(_read_model(path) for path in configs)


def weights_path(folder: Path, model: Model) -> Path:
    """Where a model's TorchScript file lies."""
    return folder / model.name / model.version / "model.pt"


def model_from_config(config: Any, version: str) -> Model:
    """What a model's Triton configuration says about one of its versions.

    Args:
        config: an `inference.ModelConfig`, from disk or from a server.
        version: a version that exists.

    Raises:
        ModelError: the configuration breaks the contract; the message names the model and the fault.
    """
    try:
        contract = Contract.from_json(_parameter(config.parameters, "contract"))
        _check_tensors(config, contract)
        check_steps(contract)
        sha256 = _parameter(config.parameters, f"sha256.{version}")
    except ModelError as error:
        raise ModelError(f"model {config.name!r}: {error.message}") from error
    return Model(config.name, version, sha256, max(1, config.max_batch_size), contract)


def parameter(folder: Path, model: Model, key: str, default: str) -> str:
    """A string parameter of a model's config.pbtxt."""
    config = _parse(folder / model.name / "config.pbtxt")
    return str(config.parameters[key].string_value) if key in config.parameters else default


def _read_model(path: Path) -> Model:
    config = _parse(path)
    name = path.parent.name
    if config.name not in ("", name):
        raise ModelError(
            f"model {name!r}: its config.pbtxt calls it {config.name!r}; folder, task and model have one name"
        )
    config.name = name
    found = [weights.parent.name for weights in path.parent.glob("*/model.pt") if weights.is_file()]
    versions = sorted(int(version) for version in found if _VERSION.fullmatch(version))
    if not versions:
        raise ModelError(f"model {name!r}: it has no version folder with a model.pt")
    model = model_from_config(config, str(versions[-1]))
    try:
        sha256 = _sha256(weights_path(path.parent.parent, model))
    except OSError as error:
        raise ModelError(f"model {name!r}: model.pt cannot be read: {error.strerror}") from error
    if sha256 != model.sha256:
        raise ModelError(
            f"model {name!r}: model.pt of version {model.version} is not the file whose SHA-256 the config names"
        )
    return model


def _parse(path: Path) -> Any:
    try:
        return text_format.Parse(path.read_text(), ModelConfig())
    except OSError as error:
        raise ModelError(f"model {path.parent.name!r}: config.pbtxt cannot be read: {error.strerror}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(f"model {path.parent.name!r}: config.pbtxt cannot be read: {error}") from error


def _parameter(parameters: Mapping[str, Any], key: str) -> str:
    if key not in parameters:
        raise ModelError(f"config.pbtxt lacks the parameter {key!r}")
    return str(parameters[key].string_value)


def _check_tensors(config: Any, contract: Contract) -> None:
    """SLICES and PROBABILITIES must have the channels that the contract counts."""
    wanted = {"SLICES": contract.context_slices, "PROBABILITIES": len(contract.labels)}
    found = {tensor.name: tensor.dims[0] for tensor in (*config.input, *config.output) if len(tensor.dims) == 3}
    if found != wanted:
        raise ModelError(f"its tensors are {found}, its contract needs {wanted}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
