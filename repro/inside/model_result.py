"""Make a model's answer into one value for each row, of the type that is asked for, as MLflow's Spark UDFs do.

    convert(answer, rows, tree) -> Series, or for a struct a DataFrame

The tree is `{"type": "double"}`, `{"array": tree}` or `{"struct": [[name, tree], ...]}`. A number, text or truth is the
first of the answer's columns that can be one; an array holds all that can; a struct has them by name. A whole number
becomes a floating one, and never the other way round. Raises ResultError. Python 3.8, numpy and pandas.
"""

import numpy
import pandas

_DTYPES = {"int": "int32", "long": "int64", "float": "float32", "double": "float64"}
_SHOWN = 8


class ResultError(ValueError):
    """The model's answer is not what is asked for."""


def _list(names):
    shown = ", ".join("`%s`" % each for each in names[:_SHOWN])
    return shown + (" and %d more" % (len(names) - _SHOWN) if len(names) > _SHOWN else "")


def _name(tree):
    if "array" in tree:
        return "array<%s>" % _name(tree["array"])
    return tree["type"] if "type" in tree else "struct of %s" % _list([name for name, _ in tree["struct"]])


def _is_missing(value):
    if value is None or value is getattr(pandas, "NA", None) or value is pandas.NaT:
        return True
    return isinstance(value, (float, numpy.floating)) and value != value  # noqa: PLR0124


def _kind(series):
    """Return the kind of a column as numpy calls it: `O` for objects, and for what only pandas knows, by its values."""
    dtype = series.dtype
    if isinstance(dtype, numpy.dtype):
        return dtype.kind
    return getattr(getattr(dtype, "numpy_dtype", None), "kind", "O")


def _fits_range(series, dtype):
    limits = numpy.iinfo(dtype)
    present = series.dropna()
    return not len(present) or (int(present.min()) >= limits.min and int(present.max()) <= limits.max)


def _infer(series):
    """Return a column of objects as numbers or truths where all its values are such."""
    if _kind(series) != "O":
        return series
    present = [each for each in series if not _is_missing(each)]
    kinds = {type(each) for each in present}
    if not kinds or not all(issubclass(each, (bool, int, float, numpy.generic)) for each in kinds):
        return series
    are_truths = {each in (bool, numpy.bool_) for each in kinds}
    if len(are_truths) != 1:
        return series
    if len(present) == len(series):
        return pandas.Series(numpy.array(list(series)))
    if are_truths == {True}:
        return series.astype("boolean")
    if all(issubclass(each, (int, numpy.integer)) for each in kinds):
        return pandas.Series([None if _is_missing(each) else int(each) for each in series], dtype="Int64")
    return pandas.to_numeric(series)


def _to_number(series, wanted):
    """Return a column as numbers of the type, None where it has others."""
    found = _infer(series)
    kind, dtype = _kind(found), _DTYPES[wanted]
    if kind not in ("iuf" if wanted in ("float", "double") else "iu"):
        return None
    if wanted in ("int", "long") and not _fits_range(found, dtype):
        return None
    if isinstance(found.dtype, numpy.dtype):
        return found.astype(dtype, copy=False)
    nullable = dtype.capitalize() if found.isna().any() else dtype
    return found.astype(nullable)


def _say(value):
    if _is_missing(value):
        return None
    return value if type(value) is str else str(value)


def _to_text(series):
    if series.dtype == "O" and all(type(each) is str for each in series):
        return series
    return pandas.Series([_say(each) for each in series.tolist()], dtype=object)


def _to_truth(series):
    if _kind(series) == "b":
        return series
    found = _infer(series)
    if _kind(found) not in "biuf":
        return None
    if not found.isna().any():
        return found.astype(bool)
    return pandas.Series([None if _is_missing(each) else bool(each) for each in found], dtype=object)


def _to_scalar(series, wanted):
    if wanted in _DTYPES:
        return _to_number(series, wanted)
    return _to_text(series) if wanted == "string" else _to_truth(series)


def _is_nested(value):
    return isinstance(value, (list, tuple, dict)) or (isinstance(value, numpy.ndarray) and value.ndim > 0)


def _holds_nested(series):
    return series.dtype == "O" and len(series) > 0 and all(_is_nested(each) for each in series)


def _make_series(values):
    values = values.tolist() if isinstance(values, numpy.ndarray) and values.ndim > 1 else values
    if isinstance(values, numpy.ndarray):
        return pandas.Series(values)
    return pandas.Series(list(values), dtype=object)


def _list_columns(answer):
    """Return an answer's columns with their names; None for a name that it does not have."""
    if isinstance(answer, pandas.DataFrame):
        return [(str(name), answer.iloc[:, number].reset_index(drop=True)) for number, name in enumerate(answer)]
    if isinstance(answer, (pandas.Series, pandas.Index)):
        return [(None, pandas.Series(answer).reset_index(drop=True))]
    if hasattr(answer, "toarray"):  # a sparse matrix of scipy's
        answer = answer.toarray()
    if isinstance(answer, dict):
        return [(str(name), _make_series(values)) for name, values in answer.items()]
    if isinstance(answer, numpy.ndarray) and answer.ndim == 2:
        return [(None, pandas.Series(answer[:, number])) for number in range(answer.shape[1])]
    if isinstance(answer, (list, tuple, numpy.ndarray)) and getattr(answer, "ndim", 1) > 0:
        series = _make_series(answer)
        if len(series) and all(isinstance(each, dict) for each in series):
            return _list_columns(pandas.DataFrame(list(series)))
        return [(None, series)]
    raise ResultError("`predict` has answered with a `%s`, and not with a value for each row" % type(answer).__name__)


def _describe(columns):
    return ", ".join(
        "`%s`" % series.dtype if name is None else "`%s` (`%s`)" % (name, series.dtype)
        for name, series in columns[:_SHOWN]
    )


def _take_first(columns, tree):
    for _, series in columns:
        if _holds_nested(series):
            continue
        found = _to_scalar(series, tree["type"])
        if found is not None:
            return found
    raise ResultError("no column of the model's answer can be `%s`: it has %s" % (_name(tree), _describe(columns)))


def _convert_nested(series, item):
    """Return the arrays of a column, each with its items of a type."""
    lengths = [len(each) for each in series]
    flat = [value for each in series for value in (each.tolist() if isinstance(each, numpy.ndarray) else each)]
    if "array" in item and not all(_is_nested(each) for each in flat):
        raise ResultError("the model's answer has arrays of values, and not of %s" % _name(item))
    converted = _listed(_convert_columns(_list_columns(flat), item)) if flat else []
    found, start = [], 0
    for length in lengths:
        found.append(converted[start : start + length])
        start += length
    return pandas.Series(found, dtype=object)


def _take_array(columns, item):
    if len(columns) == 1 and _holds_nested(columns[0][1]):
        return _convert_nested(columns[0][1], item)
    if "type" not in item:
        raise ResultError("the model's answer has no arrays of %s: it has %s" % (_name(item), _describe(columns)))
    found = [_to_scalar(series, item["type"]) for _, series in columns if not _holds_nested(series)]
    found = [each for each in found if each is not None]
    if not found:
        raise ResultError("no column of the model's answer can be `%s`: it has %s" % (_name(item), _describe(columns)))
    if item["type"] in _DTYPES and all(isinstance(each.dtype, numpy.dtype) for each in found):
        return pandas.Series(list(numpy.column_stack(found)), dtype=object)
    return pandas.Series([list(row) for row in zip(*map(_listed, found))], dtype=object)


def _listed(converted):
    """Return a converted column as plain values; a struct as dictionaries."""
    if isinstance(converted, pandas.DataFrame):
        names = list(converted)
        return [dict(zip(names, row)) for row in zip(*(_listed(converted[name]) for name in names))]
    return [None if _is_missing(each) and not isinstance(each, float) else each for each in converted.tolist()]


def _take_struct(columns, fields):
    wanted, names = [name for name, _ in fields], [name for name, _ in columns]
    nested = columns[0][1] if len(columns) == 1 and _holds_nested(columns[0][1]) else None
    if nested is not None and not isinstance(nested[0], dict) and {len(each) for each in nested} == {len(wanted)}:
        columns = list(zip(wanted, map(_make_series, zip(*nested))))
    elif all(name is None for name in names) and len(names) == len(wanted):
        columns = list(zip(wanted, (series for _, series in columns)))
    by_name = dict(columns)
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise ResultError("the model's answer has no %s: it has %s" % (_list(missing), _describe(columns)))
    found = {}
    for name, tree in fields:
        series = by_name[name]
        if "struct" in tree and _holds_nested(series):
            series = list(series)
        found[name] = _convert_named(name, series, tree)
    frame = {name: _listed(each) if isinstance(each, pandas.DataFrame) else each for name, each in found.items()}
    return pandas.DataFrame(frame)


def _convert_named(name, series, tree):
    try:
        return _convert_columns(_list_columns(series), tree)
    except ResultError as error:
        raise ResultError("`%s`: %s" % (name, error)) from None


def _convert_columns(columns, tree):
    if "array" in tree:
        return _take_array(columns, tree["array"])
    if "struct" in tree:
        return _take_struct(columns, tree["struct"])
    return _take_first(columns, tree)


def convert(answer, rows, tree):
    """Return a value for each of the rows. Raises ResultError."""
    columns = _list_columns(answer)
    lengths = sorted({len(series) for _, series in columns})
    if lengths != [rows]:
        said = "nothing" if not lengths else "%d values" % lengths[0]
        raise ResultError("the model has answered with %s for %d rows" % (said, rows))
    return _convert_columns(columns, tree)


def make_empty(tree):
    """Return what `convert` returns for no rows."""
    if "struct" in tree:
        inner = ((name, {} if "struct" in each else each) for name, each in tree["struct"])
        return pandas.DataFrame({name: make_empty(each) for name, each in inner})
    return pandas.Series([], dtype=_DTYPES.get(tree.get("type"), "bool" if tree.get("type") == "boolean" else object))
