"""What runs a model: in this process, or on an NVIDIA Triton server."""
