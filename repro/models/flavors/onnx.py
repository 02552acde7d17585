"""ONNX: the graph itself, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path

from repro.models.flavors import Saved, get_version, is_of

_FILE = "model.onnx"
_PROVIDERS = ["CUDAExecutionProvider", "CPUExecutionProvider"]


def recognizes(model: object) -> bool:
    """Tell whether a model is a graph of ONNX."""
    return is_of(model, "onnx", "ModelProto")


def save(model: object, directory: Path, example: object) -> Saved:
    """Write the graph, under the keys that MLflow reads; what is too large for one file has its weights beside it."""
    import onnx

    onnx.save_model(model, directory / _FILE, save_as_external_data=model.ByteSize() >= 1 << 31)  # type: ignore[attr-defined]
    keys = {
        "data": _FILE,
        "onnx_version": get_version("onnx"),
        "providers": _PROVIDERS,
        "onnx_session_options": None,
    }
    return Saved(keys=keys, needs=("onnx", "onnxruntime"))
