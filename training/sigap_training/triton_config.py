"""`config.pbtxt`: what Triton and the gateway read about a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sigap.core.contract import Contract

THREADS = {"INTRA_OP_THREAD_COUNT": "2", "INTER_OP_THREAD_COUNT": "1"}

_TEMPLATE = """\
# Written by sigap-export: change the recipe, not this file.
name: "{name}"
backend: "pytorch"
platform: "pytorch_libtorch"
max_batch_size: 8
input {{ name: "SLICES" data_type: TYPE_UINT8 dims: [ {context}, -1, -1 ] }}
output {{ name: "PROBABILITIES" data_type: TYPE_UINT8 dims: [ {channels}, -1, -1 ] }}
version_policy {{ latest {{ num_versions: 2 }} }}
dynamic_batching {{ }}
instance_group {{ kind: KIND_AUTO count: 1 }}
{parameters}"""


def config_text(name: str, *, contract: Mapping[str, Any], parts: Contract, sha256: Mapping[str, str]) -> str:
    """A model's config.pbtxt.

    Args:
        name: the task's.
        contract: its JSON document.
        parts: the same, read.
        sha256: of model.pt, for each version.
    """
    values = {f"sha256.{version}": digest for version, digest in sha256.items()} | THREADS | {"INFERENCE_MODE": "true"}
    plain = [_parameter(key, " " + _quoted(value)) for key, value in values.items()]
    # Text format joins neighbouring strings: the document stays readable, line by line.
    document = _parameter("contract", "".join(f"\n    {_quoted(line)}" for line in _lines(contract)))
    return _TEMPLATE.format(
        name=name,
        context=parts.context_slices,
        channels=len(parts.labels),
        parameters="".join([*plain, document]),
    )


def _lines(contract: Mapping[str, Any]) -> list[str]:
    """A JSON document, a line for each part and for each entry of a list of objects."""
    lines = []
    for key, part in contract.items():
        if isinstance(part, list) and part and isinstance(part[0], Mapping):
            entries = ", \n".join(json.dumps(entry) for entry in part)
            lines += f"{json.dumps(key)}: [\n{entries}\n]".splitlines()
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(part)}")
        lines[-1] += ", "
    lines[-1] = lines[-1].removesuffix(", ")
    return ["{", *lines, "}"]


def _parameter(key: str, value: str) -> str:
    return f'parameters {{\n  key: "{key}"\n  value {{ string_value:{value} }}\n}}\n'


def _quoted(text: str) -> str:
    """A text-format string in single quotes, so that JSON's double quotes stay readable."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
