"""Triton's backend "pytorch" where libtorch's is not at hand: TorchScript models, run by Triton's Python backend.

Laid into a server as `backends/pytorch/model.py`, it serves the same model repository, unchanged: the same
config.pbtxt, the same tensors, threads and batches, and the same bytes out. Written for release 24.10 (server 2.51).
"""

import json
from pathlib import Path

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance of one version of a model."""

    def initialize(self, args):
        """Load model.pt with the threads and on the device that the configuration names."""
        # Not before: Triton starts this file in short-lived processes too.
        import torch

        self.torch = torch
        config = json.loads(args["model_config"])
        threads = {
            name: int(count["string_value"])
            for name, count in config.get("parameters", {}).items()
            if name.endswith("_OP_THREAD_COUNT")
        }
        if "INTRA_OP_THREAD_COUNT" in threads:
            torch.set_num_threads(threads["INTRA_OP_THREAD_COUNT"])
        if "INTER_OP_THREAD_COUNT" in threads:
            torch.set_num_interop_threads(threads["INTER_OP_THREAD_COUNT"])
        has_gpu = args["model_instance_kind"] == "GPU" and torch.cuda.is_available()
        self.device = torch.device("cuda", int(args["model_instance_device_id"])) if has_gpu else torch.device("cpu")
        file = (
            Path(args["model_repository"])
            / args["model_version"]
            / (config.get("default_model_filename") or "model.pt")
        )
        self.module = torch.jit.load(str(file), map_location=self.device).eval()
        arguments = [argument.name for argument in self.module.forward.schema.arguments[1:]]
        self.inputs = _ordered([tensor["name"] for tensor in config["input"]], arguments)
        self.outputs = _ordered([tensor["name"] for tensor in config["output"]], [])
        if len(self.inputs) != len(arguments):
            raise pb_utils.TritonModelException(
                f"model {config['name']}: {len(self.inputs)} inputs are configured, forward takes {len(arguments)}"
            )
        pb_utils.Logger.log_info(
            f"{config['name']} {args['model_version']} on {self.device}: torch {torch.__version__}, "
            f"{torch.get_num_threads()} threads"
        )

    def execute(self, requests):
        """Run all requests that Triton put together as one batch, which fails as a whole, as in libtorch's backend."""
        try:
            return self._run(requests)
        except Exception as error:
            failure = pb_utils.TritonError(f"PyTorch execute failure: {error}")
            return [pb_utils.InferenceResponse(output_tensors=[], error=failure) for _ in requests]

    def _run(self, requests):
        columns = [[self._tensor(request, name) for request in requests] for name in self.inputs]
        sizes = [len(tensor) for tensor in columns[0]]
        with self.torch.inference_mode():
            joined = [self.torch.cat(column) if len(column) > 1 else column[0] for column in columns]
            answer = self.module(*(tensor.to(self.device) for tensor in joined))
        answers = (answer,) if isinstance(answer, self.torch.Tensor) else tuple(answer)
        parts = [self.torch.split(whole.cpu().contiguous(), sizes) for whole in answers]
        return [
            pb_utils.InferenceResponse(
                output_tensors=[
                    # By dlpack: the 2.51 stub misreads arrays of numpy 2, and sends none of their bytes.
                    pb_utils.Tensor.from_dlpack(name, self.torch.utils.dlpack.to_dlpack(part[place]))
                    for name, part in zip(self.outputs, parts, strict=True)
                    if name in request.requested_output_names()
                ]
            )
            for place, request in enumerate(requests)
        ]

    def _tensor(self, request, name):
        return self.torch.utils.dlpack.from_dlpack(pb_utils.get_input_tensor_by_name(request, name).to_dlpack())


def _ordered(names, arguments):
    """In the order that libtorch's backend gives them: by forward's arguments, else by number, else as configured."""
    if names and set(names) <= set(arguments):
        return sorted(names, key=arguments.index)
    numbers = [name.rpartition("__")[2] for name in names]
    if all(number.isdigit() for number in numbers):
        return sorted(names, key=lambda name: int(name.rpartition("__")[2]))
    return list(names)
