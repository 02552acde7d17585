"""PyTorch: the exported graph where an example lets it be traced, else TorchScript, and pickled only at the last."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, cast

from repro.models.flavors import Saved, get_version, is_of
from repro.models.flavors.pickling import require_cloudpickle

_DIRECTORY = "data"
_PICKLED = "model.pth"
_EXPORTED = "model.pt2"


def recognizes(model: object) -> bool:
    """Tell whether a model is a module."""
    return not isinstance(model, type) and is_of(model, "torch", "Module")


def _find_dtype(module: Any) -> str:
    """Return the type of a module's weights, in which its inputs are given."""
    weights = next((each for each in module.parameters() if each.is_floating_point()), None)
    return "float32" if weights is None else str(weights.dtype).removeprefix("torch.")


def _make_tensor(example: Any, dtype: str) -> Any:
    """Return an example as the tensor that the module is given, of two rows at least: of one, its size is fixed."""
    import torch

    value = example.to_numpy(dtype="float64") if hasattr(example, "to_numpy") else example
    tensor = torch.as_tensor(value)
    tensor = tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor
    return torch.cat([tensor, tensor]) if tensor.dim() and tensor.shape[0] == 1 else tensor


def _export(module: Any, path: Path, example: object) -> None:
    """Write the graph that an example traces; raises whatever torch does where there is none to be had."""
    import torch

    tensor = _make_tensor(example, _find_dtype(module))
    shapes = ({0: torch.export.Dim("batch")},) if tensor.dim() else None
    program = torch.export.export(module, (tensor,), dynamic_shapes=shapes)
    torch.export.save(program, path)
    torch.export.load(path)


def _name_pickler(path: Path) -> None:
    """Say where MLflow looks for it what reads a file: what cloudpickle has written, pickle reads."""
    path.with_name("pickle_module_info.txt").write_text("pickle")


def _script(module: Any, path: Path) -> None:
    """Write a module as TorchScript; raises whatever torch does where it cannot be."""
    import torch

    scripted = module if isinstance(module, torch.jit.ScriptModule) else torch.jit.script(module)
    torch.jit.save(scripted, path)
    _name_pickler(path)


def _pickle(module: Any, path: Path) -> None:
    """Write a module as MLflow does: pickled, with the name of what pickled it beside it."""
    import torch

    cloudpickle = require_cloudpickle("a module that is neither exported nor scripted")
    torch.save(module, path, pickle_module=cloudpickle)
    _name_pickler(path)


def _try(write: Callable[..., None], path: Path, *args: object) -> bool:
    """Write in one way and say whether that could be done; what torch says of it goes nowhere."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            write(*args[:1], path, *args[1:])
    except Exception:  # torch raises anything for what it cannot trace
        path.unlink(missing_ok=True)
        return False
    finally:
        logging.disable(before)
    return True


def _bring_home(module: Any) -> Any:
    """Return a module whose weights lie on the CPU: itself, or a copy."""
    import copy

    is_home = all(each.device.type == "cpu" for each in (*module.parameters(), *module.buffers()))
    return module if is_home else copy.deepcopy(module).cpu()


def save(model: object, directory: Path, example: object) -> Saved:
    """Write the module on the CPU, for asking alone, under the keys that MLflow reads."""
    module = _bring_home(cast("Any", model))
    place = directory / _DIRECTORY
    place.mkdir()
    was_training = module.training
    module.eval()
    try:
        serialization, file = _write(module, place, example)
    finally:
        module.train(was_training)
    keys = {
        "model_data": _DIRECTORY,
        "model_file": f"{_DIRECTORY}/{file}",
        "pytorch_version": get_version("torch"),
        "serialization_format": serialization,
        "input_dtype": _find_dtype(module),
    }
    return Saved(keys=keys, needs=("torch", "numpy", *(("cloudpickle",) if serialization == "pickle" else ())))


def _write(module: Any, place: Path, example: object) -> tuple[str, str]:
    """Return the format in which a module could be written, and its file."""
    if example is not None and not isinstance(example, dict) and _try(_export, place / _EXPORTED, module, example):
        return "pt2", _EXPORTED
    if _try(_script, place / _PICKLED, module):
        return "torchscript", _PICKLED
    _pickle(module, place / _PICKLED)
    return "pickle", _PICKLED
