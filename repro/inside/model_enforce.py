"""Make what `predict` is given into what the model's signature says, or say which column or parameter it is not.

    conform(data, signature) -> data              columns by name, in order and type; tensors by dtype and shape
    conform_params(params, signature) -> params   with their defaults

The signature is `{"inputs": [...], "params": [...]}`, as an MLmodel has them. Values are converted only where nothing
is lost. Raises SchemaError. Python 3.8, standard library, and numpy and pandas where they are there.
"""

import importlib
import warnings

_DTYPES = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}
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


def _make_plain(value):
    """Return numpy's scalars and arrays of one axis as Python's."""
    return value.tolist() if hasattr(value, "tolist") and getattr(value, "ndim", 2) < 2 else value


# tables


def _count_wrong(names, count):
    return SchemaError("the model takes %d columns (%s), not %d" % (len(names), _list(names), count))


def _has_axes(value):
    """Tell whether a value is a column, and not one cell."""
    return isinstance(value, (list, tuple)) or bool(getattr(value, "ndim", 0))


def _is_typed(data):
    """Tell whether somebody has chosen the types of the numbers, as nobody has in lists."""
    if isinstance(data, dict):
        return any(map(_is_typed, data.values()))
    return hasattr(data, "dtype") or hasattr(data, "dtypes")


def _build_frame(data, names, pandas):
    if isinstance(data, pandas.Series):
        if set(names) <= set(data.index):
            return data.to_frame().T
        return data.to_frame(names[0]) if len(names) == 1 and data.name is None else data.to_frame()
    if isinstance(data, dict):
        return pandas.DataFrame({key: each if _has_axes(each) else [each] for key, each in data.items()})
    return pandas.DataFrame(list(data) if isinstance(data, tuple) else data)


def _make_frame(data, names, pandas):
    """Return a DataFrame of the data; columns without names get `names`, None for their numbers."""
    if isinstance(data, pandas.DataFrame):
        return data
    what = "a model with the columns %s" % _list(names) if names else "a model of columns without names"
    if data is None:
        raise SchemaError("%s takes a table, and not nothing" % what)
    try:
        frame = _build_frame(data, names, pandas)
    except Exception as error:  # of pandas' own, of many kinds
        raise SchemaError("%s takes a table, and no such `%s`: %s" % (what, type(data).__name__, error)) from error
    if names is None or isinstance(data, (dict, pandas.Series)) or not isinstance(frame.columns, pandas.RangeIndex):
        return frame
    if frame.shape[1] != len(names):
        raise _count_wrong(names, frame.shape[1])
    frame.columns = names
    return frame


def _refuse(name, wanted, column, why=""):
    raise SchemaError("the column `%s` is `%s`, and not `%s`%s" % (name, wanted, column.dtype, why and ": " + why))


def _find_odd(column, fits):
    """Return which value, of those that are not missing, does not fit, in words; "" where all do."""
    for row, (value, is_missing) in enumerate(zip(column, column.isna())):
        if not is_missing and not fits(value):
            return "row %d has `%.60r`" % (row, value)
    return ""


def _is_number(value):
    if isinstance(value, (int, float)):
        return not isinstance(value, bool)
    return getattr(getattr(value, "dtype", None), "kind", "") in tuple("iuf")


def _is_exact(value):
    """Tell whether a number, that stands among floats, is one exactly."""
    value = _make_plain(value)
    return value != value or float(value) == value  # noqa: PLR0124


def _read_numbers(column, name, wanted, pandas):
    """Return the numbers of a column that are not missing, as numpy has them, and where others are missing."""
    dtype = column.dtype
    if not isinstance(dtype, pandas.api.extensions.ExtensionDtype) and dtype.kind in "iuf":
        return column.to_numpy(), None
    if isinstance(dtype, pandas.CategoricalDtype) or dtype.kind not in "iufO":
        _refuse(name, wanted, column)
    odd = _find_odd(column, _is_number) if dtype.kind == "O" else ""
    if odd:
        _refuse(name, wanted, column, odd)
    missing = column.isna().to_numpy(dtype=bool)
    present = column[~missing]
    if not len(present):
        return present.to_numpy(dtype="float64"), missing
    numbers = pandas.to_numeric(present).to_numpy(getattr(dtype, "numpy_dtype", None))
    is_exact = numbers.dtype.kind in "iu" or dtype.kind != "O" or not _find_odd(present, _is_exact)
    if numbers.dtype.kind not in "iuf" or not is_exact:
        _refuse(name, wanted, column, "it has a whole number that cannot be one exactly")
    return numbers, missing


def _fill(numbers, missing, column, target, pandas):
    """Return the column of numbers in another type; what is missing is NaN."""
    if missing is None:
        return column if column.dtype == target else column.astype(target)
    numpy = _find("numpy")
    found = numpy.full(len(column), numpy.nan if missing.any() else 0, dtype=target)
    found[~missing] = numbers
    return pandas.Series(found, index=column.index, name=column.name)


def _to_float(column, name, wanted, is_typed, pandas):
    numbers, missing = _read_numbers(column, name, wanted, pandas)
    kind = numbers.dtype.kind
    most, most_bytes = (2**53, 8) if wanted == "double" else (2**24, 4)
    if kind in "iu" and len(numbers) and (numbers.max() > most or numbers.min() < -most):
        _refuse(name, wanted, column, "it has a whole number that cannot be one exactly")
    if kind == "f" and numbers.itemsize > most_bytes and is_typed and len(numbers):
        _refuse(name, wanted, column, "it would be rounded; `astype('%s')` does that" % _DTYPES[wanted])
    return _fill(numbers, missing, column, _DTYPES[wanted], pandas)


def _to_whole(column, name, wanted, pandas):
    numbers, missing = _read_numbers(column, name, wanted, pandas)
    is_gap = numbers != numbers if missing is None else missing  # noqa: PLR0124
    if is_gap.any():
        _refuse(name, wanted, column, "row %d is missing, which a whole number cannot be" % is_gap.argmax())
    if numbers.dtype.kind == "f":
        is_part = numbers != _find("numpy").floor(numbers)
        if is_part.any():
            row = int(is_part.argmax())
            _refuse(name, wanted, column, "row %d has `%r`" % (row, float(numbers[row])))
    most = 2 ** (63 if wanted == "long" else 31)
    if len(numbers) and (numbers.max() >= most or numbers.min() < -most):
        _refuse(name, wanted, column, "it has a number too large for it")
    return _fill(numbers, missing, column, _DTYPES[wanted], pandas)


def _to_truth(column, name, wanted):
    if column.dtype.kind not in "Ob":
        _refuse(name, wanted, column)
    missing = column.isna()
    if missing.any():
        _refuse(name, wanted, column, "row %d is missing, which a boolean cannot be" % missing.to_numpy().argmax())
    odd = "" if column.dtype.kind == "b" else _find_odd(column, lambda value: type(value).__name__ in ("bool", "bool_"))
    if odd:
        _refuse(name, wanted, column, odd)
    return column.astype("bool")


def _to_text(column, name, wanted):
    if column.dtype.kind not in "OU":
        _refuse(name, wanted, column)
    odd = "" if str(column.dtype) in ("str", "string") else _find_odd(column, lambda value: isinstance(value, str))
    if odd:
        _refuse(name, wanted, column, odd)
    return column


def _to_bytes(column, name, wanted):
    odd = _find_odd(column, lambda value: isinstance(value, (bytes, bytearray)))
    if odd:
        _refuse(name, wanted, column, odd)
    return column


def _to_moment(column, name, wanted, pandas):
    if column.dtype.kind == "M":
        return column
    if column.dtype.kind not in "OU":
        _refuse(name, wanted, column)
    odd = _find_odd(column, lambda value: not _is_number(value) and not isinstance(value, (bool, bytes)))
    if odd:
        _refuse(name, wanted, column, odd)
    try:
        return pandas.to_datetime(column)
    except Exception as error:  # of pandas' own, of many kinds
        _refuse(name, wanted, column, str(error).split("\n", maxsplit=1)[0])


def _convert(column, name, wanted, is_typed, pandas):
    """Return a column in the type wanted, the same one where nothing is to do. Raises SchemaError."""
    if wanted in ("double", "float"):
        return _to_float(column, name, wanted, is_typed, pandas)
    if wanted in ("long", "integer"):
        return _to_whole(column, name, wanted, pandas)
    if wanted == "datetime":
        return _to_moment(column, name, wanted, pandas)
    plain = {"boolean": _to_truth, "string": _to_text, "binary": _to_bytes}.get(wanted)
    return plain(column, name, wanted) if plain else column


def _choose(frame, fields):
    """Return the columns that the fields name, in their order. Raises SchemaError."""
    there = frame.columns.tolist()
    if there == [field["name"] for field in fields]:
        return frame
    missing = [field["name"] for field in fields if field["name"] not in there and _is_required(field)]
    if missing:
        raise SchemaError("the input has no column %s; it has %s" % (_list(missing), _list(there)))
    names = [field["name"] for field in fields if field["name"] in there]
    if there == names:
        return frame
    twice = [name for name in names if there.count(name) > 1]
    if twice:
        raise SchemaError("the input has more than one column %s" % _list(twice))
    return frame[names]


def _name_by_order(data, fields, pandas):
    """Return a table for fields without names, and the fields with the names that its columns have."""
    if isinstance(data, (str, bytes, bool, int, float)):
        data = [data]
    frame = data.to_frame() if isinstance(data, pandas.Series) else _make_frame(data, None, pandas)
    if frame.shape[1] < len(fields):
        raise SchemaError("the model takes %d columns, not %d" % (len(fields), frame.shape[1]))
    if frame.shape[1] > len(fields):
        frame = frame.iloc[:, : len(fields)]
    return frame, [dict(field, name=name) for field, name in zip(fields, frame.columns)]


def _convert_cells(column, field, pandas):
    cells = [fit_nested(each, field, "%s[%d]" % (column.name, row)) for row, each in enumerate(column)]
    made = _find("numpy").empty(len(cells), dtype=object)  # pandas would look into lists of one length
    for row, each in enumerate(cells):
        made[row] = each
    return pandas.Series(made, index=column.index, name=column.name)


def _convert_columns(frame, numbers, fields, is_typed, pandas):
    """Return a table with some columns in the types wanted, the same one where nothing is to do. Raises SchemaError."""
    columns = [frame.iloc[:, number] for number in range(frame.shape[1])]
    converted = list(columns)
    for number in numbers:
        column, name = columns[number], frame.columns[number]
        field = fields[name]
        if is_nested(field):
            converted[number] = _convert_cells(column, field, pandas)
        else:
            converted[number] = _convert(column, name, field["type"], is_typed, pandas)
    if all(new is old for new, old in zip(converted, columns)):
        return frame
    made = pandas.DataFrame(dict(enumerate(converted)), index=frame.index, copy=False)
    made.columns = frame.columns
    return made


def _conform_table(data, fields, pandas):
    if type(data).__module__.startswith("scipy.sparse"):
        if data.shape[1] != len(fields):
            raise _count_wrong([field.get("name") for field in fields], data.shape[1])
        return data
    is_typed = _is_typed(data)
    if isinstance(data, dict) and any(map(is_nested, fields)):
        data = [data]  # one row: its lists are cells
    if any(field.get("name") is None for field in fields):
        data, fields = _name_by_order(data, fields, pandas)
    frame = _choose(_make_frame(data, [field["name"] for field in fields], pandas), fields)
    wanted = {field["name"]: field for field in fields}
    dtypes = frame.dtypes.tolist()
    said = {dtype: str(dtype) for dtype in set(dtypes)}
    odd = [at for at, name in enumerate(frame.columns) if said[dtypes[at]] != _DTYPES.get(wanted[name]["type"])]
    if not odd:  # so it is mostly, and a column of its own costs
        return frame
    return _convert_columns(frame, odd, wanted, is_typed, pandas)


def _conform_lists(data, fields):
    """Return a table without pandas: a dictionary of lists, by name and in order."""
    if not isinstance(data, dict) or any(field.get("name") is None for field in fields):
        return data
    missing = [field["name"] for field in fields if field["name"] not in data and _is_required(field)]
    if missing:
        raise SchemaError("the input has no column %s; it has %s" % (_list(missing), _list(list(data))))
    return {field["name"]: data[field["name"]] for field in fields if field["name"] in data}


# cells that are lists, dictionaries and maps

_FITS = {
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "long": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "double": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
}


def is_nested(field):
    """Tell whether a cell of a column is a list, a dictionary or a map."""
    return field.get("type") in ("array", "object", "map")


def fit_nested(value, field, name):
    """Return a cell, or a part of one, as its type says; a missing one that is not required is None.

    Raises SchemaError, which names the column and the place in the cell.
    """
    if value is None and not _is_required(field):
        return None
    wanted = field.get("type")
    if wanted == "array":
        return _fit_list(value, field["items"], name)
    if wanted == "object":
        return _fit_object(value, field["properties"], name)
    if wanted == "map":
        return _fit_map(value, field["values"], name)
    plain, fits = _make_plain(value), _FITS.get(wanted)
    if fits and not fits(plain):
        _refuse_part(value, name, wanted)
    return float(plain) if wanted in ("float", "double") else value


def _refuse_part(value, name, wanted):
    raise SchemaError("`%s` is `%s`, and not `%.60r`" % (name, wanted, value))


def _fit_list(value, field, name):
    is_array = hasattr(value, "tolist")
    if not is_array and not isinstance(value, (list, tuple)):
        _refuse_part(value, name, "array")
    fitted = [fit_nested(each, field, "%s[%d]" % (name, number)) for number, each in enumerate(value)]
    return _find("numpy").array(fitted, dtype=_DTYPES.get(field.get("type"))) if is_array else fitted


def _fit_object(value, properties, name):
    if not isinstance(value, dict):
        _refuse_part(value, name, "object")
    missing = [key for key, field in properties.items() if key not in value and _is_required(field)]
    if missing:
        raise SchemaError("`%s` has no %s; it has %s" % (name, _list(missing), _list(list(value)) or "nothing"))
    unknown = [key for key in value if key not in properties]
    if unknown:
        raise SchemaError("`%s` has %s, which the signature does not know" % (name, _list(unknown)))
    return {key: fit_nested(each, properties[key], "%s.%s" % (name, key)) for key, each in value.items()}


def _fit_map(value, field, name):
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        _refuse_part(value, name, "map")
    return {key: fit_nested(each, field, "%s.%s" % (name, key)) for key, each in value.items()}


# tensors


def _is_shape(shape, found):
    return len(shape) == len(found) and all(want in (-1, have) for want, have in zip(shape, found))


def _is_ragged(shape, dtype, found):
    """Tell whether an array is one of objects that have themselves a shape each, and may be."""
    if list(shape) == [-1] and dtype.kind == "O":
        return True
    return found.dtype.kind == "O" and found.ndim == 1 and -1 in shape[1:]


def _cast(found, dtype, is_typed, numpy):
    """Return an array in another dtype, None where it would lose something."""
    kinds = found.dtype.kind + dtype.kind
    if kinds in ("UU", "SS"):  # of any length
        return found
    if kinds == "OU" and all(isinstance(each, str) for each in found.ravel()):
        return found.astype(str)
    if "O" in kinds:
        return found.astype(object) if dtype.kind == "O" else None
    if not numpy.can_cast(found.dtype, dtype, "safe" if is_typed else "same_kind"):
        is_count = not is_typed and found.dtype.kind == "i" and dtype.kind == "u"
        if not is_count or (found < 0).any():
            return None
    cast = found.astype(dtype)
    is_exact = found.dtype.kind not in "iu" or (cast.astype(found.dtype) == found).all()
    return cast if is_exact else None


def _fit_tensor(value, field, numpy):
    spec, name = field["tensor-spec"], field.get("name")
    what = "the tensor `%s`" % name if name else "the input"
    shape, dtype = spec["shape"], numpy.dtype(spec["dtype"])
    if type(value).__module__.startswith("scipy.sparse"):
        found = value
    else:
        try:
            found = value.to_numpy() if hasattr(value, "to_numpy") else numpy.asanyarray(value)
        except ValueError as error:
            raise SchemaError("%s is no array: %s" % (what, error)) from error
        if _is_ragged(shape, dtype, found):
            return found
        if found.dtype != dtype:
            cast = _cast(found, dtype, _is_typed(value), numpy)
            if cast is None:
                raise SchemaError("%s is `%s`, and not `%s`" % (what, spec["dtype"], found.dtype))
            found = cast
    if not _is_shape(shape, found.shape):
        raise SchemaError("%s has the shape `%s`, and not `%s`" % (what, tuple(shape), found.shape))
    return found


def _conform_tensors(data, fields, numpy):
    names = [field.get("name") for field in fields]
    if names == [None]:
        return _fit_tensor(data, fields[0], numpy)
    if not hasattr(data, "keys"):
        if len(names) == 1 and _has_axes(data):
            return {names[0]: _fit_tensor(data, fields[0], numpy)}
        raise SchemaError(
            "the model takes the tensors %s by name, and not a `%s`" % (_list(names), type(data).__name__)
        )
    missing = [name for name, field in zip(names, fields) if name not in data and _is_required(field)]
    if missing:
        raise SchemaError("the input has no tensor %s; it has %s" % (_list(missing), _list(list(data.keys()))))
    return {name: _fit_tensor(data[name], field, numpy) for name, field in zip(names, fields) if name in data}


def conform(data, signature):
    """Return the data as the signature's inputs say. Raises SchemaError."""
    fields = (signature or {}).get("inputs")
    if not fields:
        return data
    if all(field.get("type") == "tensor" for field in fields):
        numpy = _find("numpy")
        return data if numpy is None else _conform_tensors(data, fields, numpy)
    pandas = _find("pandas")
    return _conform_lists(data, fields) if pandas is None else _conform_table(data, fields, pandas)


def _fit_param(field, value):
    """Return a parameter's value; None is one that is not given."""
    value, wanted, is_many = _make_plain(value), str(field.get("type")), field.get("shape") is not None
    if value is None:
        return None
    fits, is_list = _FITS.get(wanted), isinstance(value, (list, tuple))
    values = list(value) if is_many and is_list else [value]
    if fits and (is_many != is_list or not all(map(fits, values))):
        many = " (a list)" if is_many else ""
        raise SchemaError("the parameter `%s` is `%s`%s, and not `%.60r`" % (field["name"], wanted, many, value))
    if wanted in ("float", "double"):
        values = [float(each) for each in values]
    return values if is_many else values[0]


def conform_params(params, signature):
    """Return the parameters with their defaults; one that the signature does not name is left out with a warning.

    Raises SchemaError.
    """
    fields = (signature or {}).get("params")
    if not fields:
        return params
    given = {} if params is None else params
    if not isinstance(given, dict):
        raise SchemaError("the parameters are a dictionary, and not a `%s`" % type(given).__name__)
    unknown = sorted(set(given) - {field["name"] for field in fields}, key=str)
    if unknown:
        warnings.warn("the model has no parameter %s" % _list(unknown), stacklevel=3)
    return {
        field["name"]: _fit_param(field, given[field["name"]]) if field["name"] in given else field.get("default")
        for field in fields
    }
