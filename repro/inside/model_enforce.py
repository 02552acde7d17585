"""Make what `predict` is given into what the model's signature says, or say which column or parameter it is not.

    conform(data, signature) -> data              columns by name, in order and type; tensors by dtype and shape
    conform_params(params, signature) -> params   with their defaults

The signature is `{"inputs": [...], "params": [...]}`, as an MLmodel has them. Values are converted only where nothing
is lost. Raises SchemaError. Python 3.8, standard library, and numpy and pandas where they are there.
"""

import importlib
import warnings

_DTYPES = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}
_MOST_EXACT = 2**53
_SHOWN = 8


class SchemaError(ValueError):
    """Data or parameters are not what the signature says."""


def _find(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _list(names):
    shown = ", ".join("`%s`" % each for each in names[:_SHOWN])
    return shown + (" and %d more" % (len(names) - _SHOWN) if len(names) > _SHOWN else "")


def _is_required(field):
    return bool(field.get("required", not field.get("optional", False)))


# tables


def _is_list(value):
    return isinstance(value, (list, tuple)) or hasattr(value, "__array__")


def _make_frame(data, names, pandas):
    """Return a DataFrame of the data, whose columns are named by their order where they have no names."""
    if isinstance(data, pandas.DataFrame):
        return data
    if isinstance(data, pandas.Series):
        return data.to_frame().T if set(names) <= set(data.index) else data.to_frame()
    if isinstance(data, dict):
        return pandas.DataFrame({key: each if _is_list(each) else [each] for key, each in data.items()})
    if isinstance(data, (list, tuple)) and data and all(isinstance(each, dict) for each in data):
        return pandas.DataFrame(list(data))
    try:
        frame = pandas.DataFrame(data)
    except (ValueError, TypeError) as error:
        raise SchemaError(
            "a model with the columns %s takes a table, and not a `%s`" % (_list(names), type(data).__name__)
        ) from error
    if frame.shape[1] != len(names):
        raise SchemaError("the model takes %d columns (%s), not %d" % (len(names), _list(names), frame.shape[1]))
    frame.columns = names
    return frame


def _refuse(name, wanted, column, why=""):
    dtype = getattr(column, "dtype", type(column).__name__)
    raise SchemaError("the column `%s` is `%s`, and not `%s`%s" % (name, wanted, dtype, why and ": " + why))


def _find_odd(values, fits):
    """Return which value, of those that are not missing, does not fit, in words; None where all do."""
    for row, value in enumerate(values):
        if not fits(value):
            return "row %d has `%.60r`" % (row, value)
    return None


def _is_missing(value):
    kind = type(value).__name__
    return value is None or kind in ("NAType", "NaTType") or (isinstance(value, float) and value != value)  # noqa: PLR0124


def _plain_numbers(column, name, wanted, pandas):
    """Return a column of objects or of a nullable dtype as numpy's numbers; a missing one is NaN."""
    if not isinstance(column.dtype, pandas.api.extensions.ExtensionDtype) and column.dtype.kind != "O":
        return column
    odd = _find_odd(column, lambda value: _is_missing(value) or _is_number(value))
    if odd or isinstance(column.dtype, pandas.CategoricalDtype):
        _refuse(name, wanted, column, odd)
    if column.isna().any():
        return column.astype("float64") if column.dtype.kind != "O" else pandas.to_numeric(column)
    return pandas.to_numeric(column) if column.dtype.kind == "O" else column.astype(column.dtype.numpy_dtype)


def _is_number(value):
    return (isinstance(value, (int, float)) and not isinstance(value, bool)) or hasattr(value, "dtype")


def _to_float(column, name, wanted, is_typed, pandas):
    numbers = _plain_numbers(column, name, wanted, pandas)
    kind, target = numbers.dtype.kind, _DTYPES[wanted]
    if kind not in "fiu":
        _refuse(name, wanted, column)
    most = _MOST_EXACT if wanted == "double" else 2**24
    if kind in "iu" and len(numbers) and (numbers.max() > most or numbers.min() < -most):
        _refuse(name, wanted, column, "it has a whole number that cannot be one exactly")
    if kind == "f" and wanted == "float" and numbers.dtype.itemsize > 4 and is_typed:
        _refuse(name, wanted, column, "it would be rounded; `astype('float32')` does that")
    return numbers.astype(target, copy=False)


def _to_whole(column, name, wanted, pandas):
    numbers = _plain_numbers(column, name, wanted, pandas)
    kind = numbers.dtype.kind
    if kind not in "fiu":
        _refuse(name, wanted, column)
    if kind == "f":
        if numbers.isna().any():
            _refuse(name, wanted, column, "it has missing values, which a whole number cannot be")
        odd = _find_odd(numbers, lambda value: float(value).is_integer())
        if odd:
            _refuse(name, wanted, column, odd)
    most = 2 ** (63 if wanted == "long" else 31)
    if len(numbers) and (numbers.max() >= most or numbers.min() < -most):
        _refuse(name, wanted, column, "it has a number too large for it")
    return numbers.astype(_DTYPES[wanted], copy=False)


def _to_truth(column, name, wanted):
    if column.dtype.kind == "b" and not column.isna().any():
        return column.astype("bool", copy=False)
    odd = _find_odd(column, lambda value: type(value).__name__ in ("bool", "bool_"))
    if odd or column.dtype.kind not in "Ob":
        _refuse(name, wanted, column, odd or "")
    return column.astype("bool")


def _to_text(column, name, wanted):
    if column.dtype.kind not in "OU":
        _refuse(name, wanted, column)
    odd = _find_odd(column, lambda value: isinstance(value, str) or _is_missing(value))
    if odd:
        _refuse(name, wanted, column, odd)
    return column


def _to_bytes(column, name, wanted):
    odd = _find_odd(column, lambda value: isinstance(value, (bytes, bytearray)) or _is_missing(value))
    if odd:
        _refuse(name, wanted, column, odd)
    return column


def _to_moment(column, name, wanted, pandas):
    if column.dtype.kind == "M":
        return column
    if column.dtype.kind not in "OU":
        _refuse(name, wanted, column)
    try:
        return pandas.to_datetime(column)
    except (ValueError, TypeError, OverflowError) as error:
        raise SchemaError("the column `%s` is `%s`: %s" % (name, wanted, error)) from error


def _convert(column, field, is_typed, pandas):
    name, wanted = field["name"], field["type"]
    if wanted in ("double", "float"):
        return _to_float(column, name, wanted, is_typed, pandas)
    if wanted in ("long", "integer"):
        return _to_whole(column, name, wanted, pandas)
    if wanted == "datetime":
        return _to_moment(column, name, wanted, pandas)
    plain = {"boolean": _to_truth, "string": _to_text, "binary": _to_bytes}.get(wanted)
    return plain(column, name, wanted) if plain else column


def _is_as_said(column, field):
    dtype = _DTYPES.get(field["type"])
    return dtype is not None and str(column.dtype) == dtype


def _is_all_as_said(frame, names, fields):
    """Tell whether a table is what the signature says, without looking at columns one by one."""
    if list(frame.columns) != names:
        return False
    return all(_DTYPES.get(field["type"]) == dtype.name for field, dtype in zip(fields, frame.dtypes.tolist()))


def _conform_table(data, fields, pandas):
    names = [field["name"] for field in fields]
    sparse = _find("scipy.sparse") if type(data).__module__.startswith("scipy.") else None
    if sparse is not None and sparse.issparse(data):
        if data.shape[1] != len(names):
            raise SchemaError("the model takes %d columns (%s), not %d" % (len(names), _list(names), data.shape[1]))
        return data
    is_typed = isinstance(data, (pandas.DataFrame, pandas.Series)) or hasattr(data, "dtype")
    frame = _make_frame(data, names, pandas)
    if _is_all_as_said(frame, names, fields):
        return frame
    missing = [field["name"] for field in fields if field["name"] not in frame.columns and _is_required(field)]
    if missing:
        raise SchemaError("the input has no column %s; it has %s" % (_list(missing), _list(list(frame.columns))))
    present = [field for field in fields if field["name"] in frame.columns]
    order = [field["name"] for field in present]
    if list(frame.columns) != order:
        frame = frame[order]
    changed = {
        field["name"]: _convert(frame[field["name"]], field, is_typed, pandas)
        for field in present
        if not _is_as_said(frame[field["name"]], field)
    }
    changed = {name: column for name, column in changed.items() if column is not frame[name]}
    return frame.assign(**{str(name): column for name, column in changed.items()}) if changed else frame


def _conform_lists(data, fields):
    """Return a table without pandas: a dictionary of lists, by name and in order."""
    if not isinstance(data, dict):
        return data
    missing = [field["name"] for field in fields if field["name"] not in data and _is_required(field)]
    if missing:
        raise SchemaError("the input has no column %s; it has %s" % (_list(missing), _list(list(data))))
    return {field["name"]: data[field["name"]] for field in fields if field["name"] in data}


# tensors


def _fit_tensor(value, field, numpy):
    spec, name = field["tensor-spec"], field.get("name")
    what = "the tensor `%s`" % name if name else "the input"
    if type(value).__module__.startswith("scipy."):
        return value
    dtype, is_typed = numpy.dtype(spec["dtype"]), hasattr(value, "dtype") or hasattr(value, "dtypes")
    try:
        found = value.to_numpy() if hasattr(value, "to_numpy") else numpy.asarray(value)
    except ValueError as error:
        raise SchemaError("%s is no array: %s" % (what, error)) from error
    if found.dtype != dtype:
        if not numpy.can_cast(found.dtype, dtype, "safe" if is_typed else "same_kind"):
            raise SchemaError("%s is `%s`, and not `%s`" % (what, dtype, found.dtype))
        found = found.astype(dtype)
    shape = spec["shape"]
    if len(shape) != found.ndim or any(want not in (-1, have) for want, have in zip(shape, found.shape)):
        raise SchemaError("%s has the shape `%s`, and not `%s`" % (what, tuple(shape), found.shape))
    return found


def _conform_tensors(data, fields, numpy):
    if len(fields) == 1 and not fields[0].get("name"):
        return _fit_tensor(data, fields[0], numpy)
    names = [field.get("name") for field in fields]
    if not hasattr(data, "keys"):
        raise SchemaError(
            "the model takes the tensors %s by name, and not a `%s`" % (_list(names), type(data).__name__)
        )
    missing = [name for name in names if name not in data]
    if missing:
        raise SchemaError("the input has no tensor %s" % _list(missing))
    return {field["name"]: _fit_tensor(data[field["name"]], field, numpy) for field in fields}


def conform(data, signature):
    """Return the data as the signature's inputs say. Raises SchemaError."""
    fields = (signature or {}).get("inputs")
    if not fields:
        return data
    if all(field.get("type") == "tensor" for field in fields):
        numpy = _find("numpy")
        return data if numpy is None else _conform_tensors(data, fields, numpy)
    if any(field.get("name") is None for field in fields):
        return data  # told by their order: there is no name to look at
    pandas = _find("pandas")
    return _conform_lists(data, fields) if pandas is None else _conform_table(data, fields, pandas)


_FITS = {
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "long": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "double": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
}


def _fit_param(field, value):
    fits, is_many = _FITS.get(str(field.get("type"))), field.get("shape") is not None
    values = list(value) if is_many and isinstance(value, (list, tuple)) else [value]
    if (is_many and not isinstance(value, (list, tuple))) or (fits and not all(map(fits, values))):
        many = " (a list)" if is_many else ""
        raise SchemaError("the parameter `%s` is `%s`%s, and not `%.60r`" % (field["name"], field["type"], many, value))
    return values if is_many else value


def conform_params(params, signature):
    """Return the parameters with their defaults; one that the signature does not name is left out with a warning.

    Raises SchemaError.
    """
    fields = (signature or {}).get("params")
    if not fields:
        return params
    given = params or {}
    unknown = sorted(set(given) - {field["name"] for field in fields})
    if unknown:
        warnings.warn("the model has no parameter %s" % _list(unknown), stacklevel=3)
    return {
        field["name"]: _fit_param(field, given[field["name"]]) if field["name"] in given else field.get("default")
        for field in fields
    }
