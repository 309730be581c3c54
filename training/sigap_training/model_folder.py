"""A task's folder of a model repository, run as the gateway runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc.model_config_pb2 import ModelConfig

from sigap.core.contract import Contract
from sigap.core.levels import ThresholdLevels
from sigap.core.segmentation import Segmentation
from sigap.core.study import Volume
from sigap.imaging import postprocess
from sigap.imaging.batches import slice_batches
from sigap_training.export import load_frozen

_BATCH = 8


@dataclass(frozen=True)
class ModelFolder:
    """One version of a model, with what its config says.

    Attributes:
        name: the task's.
        contract: what its channels mean.
        module: its TorchScript file.
    """

    name: str
    contract: Contract
    module: Any

    @classmethod
    def load(cls, folder: Path, version: str = "1") -> ModelFolder:
        """Read a task's folder, and take the threads that it names."""
        config: Any = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        torch.set_num_threads(int(parameters["INTRA_OP_THREAD_COUNT"]))
        contract = Contract.from_json(parameters["contract"])
        return cls(config.name, contract, load_frozen((folder / version / "model.pt").read_bytes()))

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
