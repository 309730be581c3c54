"""The engine that asks NVIDIA Triton servers over gRPC; torch is not needed here."""

from sigap.engines.triton.engine import TritonEngine

__all__ = ["TritonEngine"]
