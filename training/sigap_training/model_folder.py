"""A task's folder of a model repository, run as the gateway runs it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc.model_config_pb2 import ModelConfig

from sigap.core.contract import Contract
from sigap.core.errors import ModelError
from sigap.core.levels import ThresholdLevels
from sigap.core.segmentation import Segmentation
from sigap.core.study import Volume
from sigap.imaging import postprocess
from sigap.imaging.batches import slice_batches
from sigap_training.frozen import load_frozen

_BATCH = 8


class BadModel(Exception):
    """A folder that holds no model that can be run; the message names the file."""


@dataclass(frozen=True)
class ModelFolder:
    """One version of a model, with what its config says.

    Attributes:
        name: the task's.
        version: the version folder's name.
        sha256: of `model.pt`; the config names the same.
        contract: what its channels mean.
        module: its TorchScript file.
    """

    name: str
    version: str
    sha256: str
    contract: Contract
    module: Any

    @classmethod
    def load(cls, folder: Path, version: str = "1") -> ModelFolder:
        """Read a task's folder, and take the threads that it names.

        Raises:
            BadModel: a file is missing or unreadable, or `model.pt` is not the one that the config names.
        """
        parameters, name = _read_config(folder / "config.pbtxt")
        path = folder / version / "model.pt"
        try:
            model = path.read_bytes()
            sha256 = hashlib.sha256(model).hexdigest()
            if parameters[f"sha256.{version}"] != sha256:
                raise BadModel(f"{path} is not the file that config.pbtxt names: its SHA-256 is {sha256}")
            torch.set_num_threads(int(parameters["INTRA_OP_THREAD_COUNT"]))
            contract = Contract.from_json(parameters["contract"])
            postprocess.check_steps(contract)
            return cls(name, version, sha256, contract, load_frozen(model))
        except FileNotFoundError as error:
            raise BadModel(f"{path} is missing") from error
        except KeyError as error:
            raise BadModel(f"{folder / 'config.pbtxt'}: no parameter {error}") from error
        except (ModelError, OSError, RuntimeError, ValueError) as error:
            raise BadModel(f"{folder} holds no model that can be run: {error}") from error

    @classmethod
    def load_like(cls, folder: Path, ours: Contract) -> ModelFolder:
        """Read a model that answers about the same labels, from the same slices, as another one's contract says.

        Raises:
            BadModel: as `load`, or labels, window or number of slices differ.
        """
        found = cls.load(folder)
        theirs = found.contract
        for what, found_value, wanted in (
            ("the labels", *([label.name for label in contract.labels] for contract in (theirs, ours))),
            ("the window", *((contract.level_hu, contract.width_hu) for contract in (theirs, ours))),
            ("the number of slices", theirs.context_slices, ours.context_slices),
        ):
            if found_value != wanted:
                raise BadModel(f"of {folder} {what} is {found_value}, not {wanted}")
        return found

    @property
    def parameter_count(self) -> int:
        """Weights of the network as served: batch norms are folded into the convolutions."""
        graph = self.module.inlined_graph  # its nodes live as long as it does
        nodes = graph.findAllNodes("prim::Constant")
        tensors = [node.t("value") for node in nodes if node.hasAttribute("value") and node.kindOf("value") == "t"]
        # A network that is asked twice has its weights in the graph twice, but in memory once.
        return sum({tensor.data_ptr(): tensor.numel() for tensor in tensors}.values())

    @torch.inference_mode()
    def infer(self, slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Probabilities [N, C, H, W] of windowed slices [N, K, H, W]."""
        answer: NDArray[np.uint8] = self.module(torch.from_numpy(slices)).numpy()
        return answer

    def probabilities(self, volume: Volume) -> NDArray[np.uint8]:
        """All slices of a volume in canonical orientation, [D, C, H, W]."""
        return np.concatenate([self.infer(batch) for _, batch in slice_batches(volume, self.contract, _BATCH)])

    def segment(self, volume: Volume, probabilities: NDArray[np.uint8]) -> Segmentation:
        """The gateway's thresholds and post-processing; `probabilities` as from this volume."""
        levels = ThresholdLevels(self.contract.labels, volume.grid.shape)
        volume.grid.orientation.to_canonical(levels.packed())[:] = levels.pack(probabilities)
        return postprocess.segment(levels, volume, self.contract)


def _read_config(path: Path) -> tuple[dict[str, str], str]:
    try:
        config: Any = text_format.Parse(path.read_text(), ModelConfig())
    except FileNotFoundError as error:
        raise BadModel(f"{path} is missing") from error
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise BadModel(f"{path} cannot be read: {error}") from error
    return {key: value.string_value for key, value in config.parameters.items()}, config.name
