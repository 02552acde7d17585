"""Turn values into JSON and raw buffers, and back: what crosses between two Pythons with other libraries, not pickled.

    encode(value) -> (tree, buffers)         the tree is JSON; `{"$": kind, ...}` stands for what JSON cannot say
    decode(tree, buffers) -> value           an equal value, of the libraries that are there

Values are None, bool, int, float, str, bytes, list, tuple, dict, date, datetime, timedelta, numpy's scalars and arrays,
pandas' Index, Series and DataFrame, and scipy's sparse matrices. Where numpy is not there, arrays come as nested lists;
where pandas is not, frames come as dictionaries of columns. Anything else is a TypeError that names its type, a tree
that nobody here has made a ValueError. Nothing is ever unpickled. Python 3.8, standard library.
"""

import array as _array
import datetime
import importlib
import math
import sys
from collections import OrderedDict, defaultdict

_TAG = "$"
_RAW_KINDS = "biufcMmUS"
_PLAIN = (type(None), bool, float, str)
_EPOCH = datetime.datetime(1970, 1, 1)
_MOST_DEPTH = 200


def _find(name):
    """Return a module where it is installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _name(value):
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else "%s.%s" % (kind.__module__, kind.__qualname__)


def _refuse(value, why=""):
    raise TypeError("a value of the type `%s` cannot cross%s" % (_name(value), why and ": " + why))


def _name_zone(zone):
    """Return a zone's name, or its offset in seconds where it has none."""
    for attribute in ("key", "zone"):
        name = getattr(zone, attribute, None)
        if isinstance(name, str):
            return name
    text = str(zone)
    if text == "UTC" or ("/" in text and "'" not in text):
        return text
    if text.startswith("tzfile("):
        return text.rsplit("zoneinfo/", maxsplit=1)[-1].rstrip("')\"")
    try:
        offset = zone.utcoffset(None)
    except Exception:
        offset = None
    if offset is None:
        raise TypeError("a time zone of the type `%s` cannot cross" % _name(zone))
    return offset.total_seconds()


def _find_zone(name):
    if isinstance(name, (int, float)):
        return datetime.timezone(datetime.timedelta(seconds=name))
    if not isinstance(name, str):
        raise ValueError("a time zone has neither name nor offset")
    if name == "UTC":
        return datetime.timezone.utc
    zoneinfo = _find("zoneinfo")
    if zoneinfo:
        try:
            return zoneinfo.ZoneInfo(name)
        except Exception:
            pass  # no data of zones: pytz or dateutil may bring its own
    for module, function in (("pytz", "timezone"), ("dateutil.tz", "gettz")):
        found = _find(module)
        zone = getattr(found, function)(name) if found else None
        if zone is not None:
            return zone
    raise ValueError("the time zone `%s` is not known here" % name)


class _Encoder:
    """Gather the buffers of one value."""

    def __init__(self):
        self.buffers = []
        self.numpy = sys.modules.get("numpy")
        self.pandas = sys.modules.get("pandas")
        self.sparse = sys.modules.get("scipy.sparse")

    def add(self, content):
        """Keep a buffer and return its number."""
        self.buffers.append(content)
        return len(self.buffers) - 1

    def encode(self, value, depth=0):
        """Return the tree of a value."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is int:
            return value if -(2**63) <= value < 2**64 else {_TAG: "int", "v": hex(value)}
        if depth > _MOST_DEPTH:
            raise TypeError("a value that holds others more than %d deep cannot cross" % _MOST_DEPTH)
        if kind is list:
            return self.encode_list(value, depth)
        if kind is tuple:
            return {_TAG: "tuple", "v": self.encode_list(value, depth)}
        if kind in (dict, OrderedDict, defaultdict):
            return self._encode_dict(value, depth)
        if kind in (bytes, bytearray):
            return {_TAG: "bytes", "b": self.add(bytes(value))}
        found = self._encode_library(value, depth)
        if found is not None:
            return found
        return self._encode_moment(value)

    def encode_list(self, values, depth=0):
        """Return the trees of several values."""
        return [each if type(each) in _PLAIN else self.encode(each, depth + 1) for each in values]

    def _encode_dict(self, value, depth):
        if _TAG not in value and all(type(key) is str for key in value):
            return {key: self.encode(each, depth + 1) for key, each in value.items()}
        return {_TAG: "dict", "v": [self.encode_list(pair, depth + 1) for pair in value.items()]}

    def _encode_moment(self, value):
        kind = type(value)
        if kind is datetime.datetime:
            zone = None if value.tzinfo is None else _name_zone(value.tzinfo)
            return {_TAG: "datetime", "v": value.replace(tzinfo=None).isoformat(), "tz": zone, "fold": value.fold}
        if kind is datetime.date:
            return {_TAG: "date", "v": value.isoformat()}
        if kind is datetime.timedelta:
            return {_TAG: "timedelta", "v": [value.days, value.seconds, value.microseconds]}
        return _refuse(value)

    def _encode_library(self, value, depth):
        numpy, pandas = self.numpy, self.pandas
        if numpy is not None:
            if isinstance(value, numpy.generic):
                return self._encode_scalar(value)
            if type(value) is numpy.ndarray or isinstance(value, numpy.memmap):
                return self.encode_array(value, depth)
        if pandas is not None:
            found = self._encode_pandas(value, depth)
            if found is not None:
                return found
        if self.sparse is not None and self.sparse.issparse(value):
            return self._encode_sparse(value)
        return None

    def _encode_scalar(self, value):
        dtype = value.dtype
        if dtype.kind in "US":
            return {_TAG: "scalar", "dtype": dtype.str, "b": self.add(self.numpy.asarray(value).tobytes())}
        if dtype.kind not in _RAW_KINDS:
            _refuse(value)
        return {_TAG: "scalar", "dtype": dtype.str, "b": self.add(value.tobytes())}

    def encode_array(self, value, depth=0):
        """Return the tree of an array; its own memory is the buffer where it lies in one piece."""
        dtype = value.dtype
        if dtype.kind in "OT":
            flat = value.ravel().tolist() if dtype.kind == "T" else list(value.ravel())
            return {_TAG: "array", "dtype": "O", "shape": list(value.shape), "v": self.encode_list(flat, depth)}
        if dtype.kind not in _RAW_KINDS or dtype.fields:
            _refuse(value, "its dtype is `%s`" % dtype)
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        lying = value.T if order == "F" else self.numpy.ascontiguousarray(value)
        tree = {_TAG: "array", "dtype": dtype.str, "shape": list(value.shape), "b": self._add_memory(lying)}
        if order == "F":
            tree["order"] = "F"
        return tree

    def _add_memory(self, lying):
        if not lying.size or not lying.dtype.itemsize:
            return self.add(b"")
        return self.add(memoryview(lying.reshape(-1).view("u1")))

    def _encode_sparse(self, value):
        if value.format not in ("csr", "csc", "coo"):
            _refuse(value, "convert it with `tocsr()`")
        names = ("data", "row", "col") if value.format == "coo" else ("data", "indices", "indptr")
        if len(value.shape) != 2:
            _refuse(value, "it has not two axes")
        is_array = not isinstance(value, self.sparse.spmatrix)
        tree = {_TAG: "sparse", "format": value.format, "array": is_array, "shape": [int(each) for each in value.shape]}
        tree["v"] = [self.encode_array(getattr(value, name)) for name in names]
        return tree

    # pandas

    def _encode_pandas(self, value, depth):
        pandas = self.pandas
        if type(value) is pandas.DataFrame:
            return self._encode_frame(value)
        if type(value) is pandas.Series:
            tree = {_TAG: "series", "v": self._encode_values(value.array), "index": self._encode_index(value.index)}
            tree["name"] = self.encode(value.name)
            return tree
        if isinstance(value, pandas.Index):
            return self._encode_index(value)
        if isinstance(value, pandas.api.extensions.ExtensionArray):
            return {_TAG: "values", "v": self._encode_values(value)}
        if value is pandas.NaT:
            return {_TAG: "NaT"}
        if value is getattr(pandas, "NA", pandas):
            return {_TAG: "NA"}
        if type(value) is pandas.Timestamp:
            zone = None if value.tzinfo is None else _name_zone(value.tzinfo)
            return {_TAG: "timestamp", "v": value.value, "tz": zone, "unit": getattr(value, "unit", "ns")}
        if type(value) is pandas.Timedelta:
            return {_TAG: "pandas_timedelta", "v": value.value, "unit": getattr(value, "unit", "ns")}
        return None

    def _encode_frame(self, frame):
        tree = {_TAG: "frame", "columns": self._encode_index(frame.columns), "index": self._encode_index(frame.index)}
        dtypes = set(frame.dtypes)
        dtype = next(iter(dtypes), None)
        if len(dtypes) == 1 and type(dtype).__module__.startswith("numpy") and dtype.kind in "biufc":
            return dict(tree, block=self.encode_array(frame.to_numpy().T))
        columns = range(frame.shape[1])
        try:
            return dict(tree, v=[self._encode_values(frame.iloc[:, number].array) for number in columns])
        except _ColumnError as error:
            number = next(number for number in columns if frame.iloc[:, number].dtype == error.dtype)
            raise TypeError(
                "the column `%s` has the dtype `%s`, which cannot cross" % (frame.columns[number], error.dtype)
            ) from None

    def _encode_values(self, values):
        """Return the tree of a column's array, by its dtype."""
        pandas, numpy, dtype = self.pandas, self.numpy, values.dtype
        if isinstance(dtype, pandas.CategoricalDtype):
            return {
                _TAG: "categorical", "codes": self.encode_array(numpy.asarray(values.codes)),
                "categories": self._encode_index(dtype.categories), "ordered": bool(dtype.ordered),
            }  # fmt: skip
        if isinstance(dtype, pandas.DatetimeTZDtype):
            moments = numpy.asarray(values._ndarray)
            return {_TAG: "zoned", "v": self.encode_array(moments), "tz": _name_zone(dtype.tz)}
        if isinstance(dtype, numpy.dtype):
            plain = numpy.asarray(values)
            return self.encode_array(plain)
        if isinstance(dtype, pandas.StringDtype):
            missing = "NA" if getattr(dtype, "na_value", pandas.NA) is pandas.NA else "nan"
            texts = [each if isinstance(each, str) else None for each in values]
            return {_TAG: "string", "v": texts, "missing": missing}
        if hasattr(values, "_mask") and hasattr(values, "_data"):
            mask = self.encode_array(numpy.asarray(values._mask))
            return {
                _TAG: "masked",
                "dtype": str(dtype),
                "v": self.encode_array(numpy.asarray(values._data)),
                "mask": mask,
            }
        raise _ColumnError(dtype)

    def _encode_index(self, index):
        pandas = self.pandas
        names = self.encode_list(list(index.names))
        if isinstance(index, pandas.MultiIndex):
            codes = [self.encode_array(self.numpy.asarray(each)) for each in index.codes]
            return {
                _TAG: "multi",
                "levels": [self._encode_index(each) for each in index.levels],
                "codes": codes,
                "names": names,
            }
        named = {} if names == [None] else {"name": names[0]}
        if isinstance(index, pandas.RangeIndex):
            return dict({_TAG: "range", "v": [index.start, index.stop, index.step]}, **named)
        freq = getattr(index, "freqstr", None)
        if freq:
            named["freq"] = freq
        return dict({_TAG: "index", "v": self._encode_values(index.array)}, **named)


class _ColumnError(TypeError):
    """A column of this dtype cannot cross."""

    def __init__(self, dtype):
        TypeError.__init__(self, "values of the dtype `%s` cannot cross" % dtype)
        self.dtype = dtype


def encode(value):
    """Return the tree of a value, which is JSON, and its buffers. Raises TypeError, with the type that cannot cross."""
    encoder = _Encoder()
    return encoder.encode(value), encoder.buffers


_CODES = {
    "<f8": "d", "<f4": "f", "<i8": "q", "<i4": "i", "<i2": "h", "|i1": "b", "|b1": "b", "<u8": "Q", "<u4": "I",
    "<u2": "H", "|u1": "B",
}  # fmt: skip
_UNITS = {"D": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def _nest(flat, shape):
    for length in reversed(shape[1:]):
        flat = [flat[at : at + length] for at in range(0, len(flat), length)] if length else []
    return flat if shape else flat[0]


def _read_plainly(dtype, content):
    """Return a list of an array's values, without numpy."""
    if dtype in _CODES:
        values = _array.array(_CODES[dtype])
        values.frombytes(bytes(content))
        if sys.byteorder == "big":
            values.byteswap()
        return [bool(each) for each in values] if dtype == "|b1" else values.tolist()
    if dtype[:2] in ("<M", "<m"):
        return [_read_moment(dtype, each) for each in _read_plainly("<i8", content)]
    if dtype[:2] == "<U" and int(dtype[2:]) and dtype[2:].isdigit():
        size = 4 * int(dtype[2:])
        return [bytes(content[at : at + size]).decode("utf-32-le").rstrip("\0") for at in range(0, len(content), size)]
    if dtype in ("<c16", "<c8"):
        parts = _read_plainly("<f8" if dtype == "<c16" else "<f4", content)
        return [complex(*parts[at : at + 2]) for at in range(0, len(parts), 2)]
    raise ValueError("an array of the dtype `%s` needs numpy" % dtype)


def _read_moment(dtype, number):
    unit = dtype[dtype.index("[") + 1 : -1]
    if number == -(2**63):
        return None
    if unit not in _UNITS:
        raise ValueError("an array of the dtype `%s` needs numpy" % dtype)
    span = (
        datetime.timedelta(seconds=number * _UNITS[unit])
        if unit in "Dhms"
        else datetime.timedelta(microseconds=number // 1000 if unit == "ns" else number * (1000 if unit == "ms" else 1))
    )
    return _EPOCH + span if dtype[1] == "M" else span


class _Decoder:
    """Read trees with their buffers."""

    def __init__(self, buffers):
        self.buffers = buffers
        self.numpy = _find("numpy")

    def decode(self, tree):
        """Return the value of a tree."""
        if type(tree) is list:
            return self.decode_list(tree)
        if type(tree) is not dict:
            return tree
        if _TAG not in tree:
            return {key: self.decode(each) for key, each in tree.items()}
        read = _READERS.get(tree[_TAG])
        if read is None:
            raise ValueError("there is no value of the kind `%s`" % (tree[_TAG],))
        return read(self, tree)

    def decode_list(self, trees):
        """Return the values of several trees."""
        return [self.decode(each) if type(each) in (list, dict) else each for each in trees]

    def _get_buffer(self, tree):
        number = tree["b"]
        if type(number) is not int or not 0 <= number < len(self.buffers):
            raise ValueError("there is no buffer `%s`" % (number,))
        return self.buffers[number]

    def _read_bytes(self, tree):
        return bytes(self._get_buffer(tree))

    def _read_dict(self, tree):
        return dict(self.decode_list(tree["v"]))

    def _read_datetime(self, tree):
        moment = datetime.datetime.fromisoformat(tree["v"]).replace(fold=tree.get("fold", 0))
        if tree.get("tz") is None:
            return moment
        zone = _find_zone(tree["tz"])
        return (
            zone.localize(moment, is_dst=not moment.fold) if hasattr(zone, "localize") else moment.replace(tzinfo=zone)
        )

    def _read_scalar(self, tree):
        content = self._get_buffer(tree)
        if self.numpy is None:
            return _read_plainly(tree["dtype"], content)[0]
        dtype = self._check_dtype(tree["dtype"])
        if not dtype.itemsize:
            return dtype.type()
        return self.numpy.frombuffer(bytes(content), dtype=dtype, count=1)[0]

    def _check_dtype(self, name):
        dtype = self.numpy.dtype(str(name))
        if dtype.kind not in _RAW_KINDS or dtype.fields:
            raise ValueError("`%s` is no dtype of a raw array" % name)
        return dtype

    def read_array(self, tree):
        """Return an array, nested lists without numpy."""
        shape = tree["shape"]
        if not all(type(each) is int and each >= 0 for each in shape):
            raise ValueError("`%s` is no shape" % (shape,))
        if tree["dtype"] == "O":
            return self._read_objects(tree, shape)
        content = self._get_buffer(tree)
        if self.numpy is None:
            return self._nest_plainly(tree, content, shape)
        dtype = self._check_dtype(tree["dtype"])
        if not len(content):
            return self.numpy.zeros(shape, dtype) if 0 in shape or not dtype.itemsize else self._fail(tree)
        flat = self.numpy.frombuffer(content, dtype=dtype)
        if flat.size != math.prod(shape):
            self._fail(tree)
        return flat.reshape(shape[::-1]).T if tree.get("order") == "F" else flat.reshape(shape)

    def _fail(self, tree):
        raise ValueError("an array of the shape `%s` has another number of values" % (tree["shape"],))

    def _nest_plainly(self, tree, content, shape):
        flat = _read_plainly(tree["dtype"], content)
        if len(flat) != math.prod(shape):
            self._fail(tree)
        if tree.get("order") == "F" and len(shape) == 2:
            return [list(each) for each in zip(*_nest(flat, shape[::-1]))]
        if tree.get("order") == "F":
            raise ValueError("an array of %d axes in Fortran's order needs numpy" % len(shape))
        return _nest(flat, shape)

    def _read_objects(self, tree, shape):
        values = self.decode_list(tree["v"])
        if len(values) != math.prod(shape):
            self._fail(tree)
        if self.numpy is None:
            return _nest(values, shape)
        found = self.numpy.empty(len(values), dtype=object)
        for at, each in enumerate(values):
            found[at] = each
        return found.reshape(shape)

    def _read_sparse(self, tree):
        parts = [self.read_array(each) for each in tree["v"]]
        sparse = _find("scipy.sparse")
        if sparse is None:
            raise ValueError("a sparse matrix needs scipy")
        format_, shape = tree["format"], tuple(tree["shape"])
        if format_ not in ("csr", "csc", "coo"):
            raise ValueError("`%s` is no format of a sparse matrix" % (format_,))
        make = getattr(sparse, format_ + "_array", None) if tree.get("array") else None
        make = make or getattr(sparse, format_ + "_matrix")
        data, first, second = parts
        found = (
            make((data, (first, second)), shape=shape) if format_ == "coo" else make((data, first, second), shape=shape)
        )
        if format_ != "coo":
            found.check_format(full_check=True)  # an index out of range would be read by C
        return found

    # pandas

    def _read_frame(self, tree):
        pandas = _find("pandas")
        if pandas is None:
            return self._read_columns(tree)
        names, index = self._read_index(tree["columns"]), self._read_index(tree["index"])
        if "block" in tree:
            block = self.read_array(tree["block"])
            if block.shape != (len(names), len(index)):
                raise ValueError("a table has another shape than its names and its index")
            return pandas.DataFrame(block.T, index=index, columns=names, copy=False)
        columns = {
            number: pandas.Series(self._read_values(each), index=index, copy=False, dtype=_find_dtype(each))
            for number, each in enumerate(tree["v"])
        }
        if len(columns) != len(names):
            raise ValueError("a table has not as many names as columns")
        frame = pandas.DataFrame(columns, index=index, columns=range(len(names)))
        frame.columns = names
        return frame

    def _read_columns(self, tree):
        names = self._read_index(tree["columns"])
        columns = self.read_array(tree["block"]) if "block" in tree else [self._read_values(each) for each in tree["v"]]
        columns = columns.tolist() if hasattr(columns, "tolist") else columns
        return {name: each.tolist() if hasattr(each, "tolist") else each for name, each in zip(names, columns)}

    def _read_series(self, tree):
        pandas = _find("pandas")
        if pandas is None:
            return self._read_values(tree["v"])
        values, index = self._read_values(tree["v"]), self._read_index(tree["index"])
        name = self.decode(tree.get("name"))
        return pandas.Series(values, index=index, name=name, copy=False, dtype=_find_dtype(tree["v"]))

    def _read_values(self, tree):
        """Return a column's array; a list without pandas."""
        read = _COLUMNS.get(tree[_TAG])
        if read is None:
            raise ValueError("there is no column of the kind `%s`" % (tree[_TAG],))
        return read(self, tree)

    def _read_categorical(self, tree):
        codes, categories = self.read_array(tree["codes"]), self._read_index(tree["categories"])
        pandas = _find("pandas")
        if pandas is None:
            return [categories[each] if each >= 0 else None for each in codes]
        return pandas.Categorical.from_codes(codes, categories=categories, ordered=bool(tree["ordered"]))

    def _read_zoned(self, tree):
        moments, zone = self.read_array(tree["v"]), _find_zone(tree["tz"])
        pandas = _find("pandas")
        if pandas is None:
            return [each and each.replace(tzinfo=datetime.timezone.utc).astimezone(zone) for each in _listed(moments)]
        return pandas.DatetimeIndex(moments).tz_localize("UTC").tz_convert(zone).array

    def _read_string(self, tree):
        texts = tree["v"]
        if not all(each is None or type(each) is str for each in texts):
            raise ValueError("a column of texts has other values")
        pandas = _find("pandas")
        if pandas is None:
            return texts
        if tree["missing"] == "NA" and hasattr(pandas, "StringDtype"):
            return pandas.array(texts, dtype="string")
        if int(pandas.__version__.split(".")[0]) >= 3:
            return pandas.array(texts, dtype="str")
        found = self.numpy.empty(len(texts), dtype=object)
        found[:] = [float("nan") if each is None else each for each in texts]
        return found

    def _read_masked(self, tree):
        values, mask = self.read_array(tree["v"]), self.read_array(tree["mask"])
        pandas = _find("pandas")
        if pandas is None:
            return [None if missing else each for each, missing in zip(_listed(values), _listed(mask))]
        name = tree["dtype"]
        if name not in _MASKED:
            raise ValueError("`%s` is no nullable dtype" % (name,))
        if name.startswith("Float"):
            make = pandas.arrays.FloatingArray
        else:
            make = pandas.arrays.BooleanArray if name == "boolean" else pandas.arrays.IntegerArray
        return make(values, mask)

    def _read_index(self, tree):
        pandas = _find("pandas")
        if tree[_TAG] == "range":
            start, stop, step = tree["v"]
            return (
                range(start, stop, step)
                if pandas is None
                else pandas.RangeIndex(start, stop, step, name=self._name(tree))
            )
        if tree[_TAG] == "multi":
            return self._read_multi(tree, pandas)
        if tree[_TAG] != "index":
            raise ValueError("there is no index of the kind `%s`" % (tree[_TAG],))
        values = self._read_values(tree["v"])
        if pandas is None:
            return _listed(values)
        dtype = object if _find_dtype(tree["v"]) is object else None
        index = pandas.Index(values, name=self._name(tree), dtype=dtype)
        if "freq" in tree:
            try:
                index.freq = tree["freq"]
            except (ValueError, AttributeError):
                pass  # another pandas has other names for frequencies
        return index

    def _name(self, tree):
        return self.decode(tree.get("name"))

    def _read_multi(self, tree, pandas):
        levels = [self._read_index(each) for each in tree["levels"]]
        codes = [self.read_array(each) for each in tree["codes"]]
        if pandas is None:
            columns = [[level[at] if at >= 0 else None for at in _listed(each)] for level, each in zip(levels, codes)]
            return list(zip(*columns))
        return pandas.MultiIndex(levels=levels, codes=codes, names=self.decode_list(tree["names"]))

    def _read_timestamp(self, tree):
        pandas = _find("pandas")
        zone = None if tree.get("tz") is None else _find_zone(tree["tz"])
        if pandas is None:
            moment = _read_moment("<M8[ns]", tree["v"])
            return moment if zone is None else moment.replace(tzinfo=datetime.timezone.utc).astimezone(zone)
        found = pandas.Timestamp(tree["v"], unit="ns")
        if hasattr(found, "as_unit") and tree["unit"] in ("s", "ms", "us", "ns"):
            found = found.as_unit(tree["unit"])
        return found if zone is None else found.tz_localize("UTC").tz_convert(zone)

    def _read_pandas_timedelta(self, tree):
        pandas = _find("pandas")
        if pandas is None:
            return _read_moment("<m8[ns]", tree["v"])
        found = pandas.Timedelta(tree["v"], unit="ns")
        return found.as_unit(tree["unit"]) if hasattr(found, "as_unit") else found

    def _read_missing(self, tree):
        pandas = _find("pandas")
        return getattr(pandas, tree[_TAG], None) if pandas is not None else None


_MASKED = (
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "boolean",
)  # fmt: skip


def _listed(values):
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _find_dtype(tree):
    """Return the dtype that pandas must not guess: of objects."""
    return object if tree.get("dtype") == "O" else None


_COLUMNS = {
    "array": _Decoder.read_array,
    "categorical": _Decoder._read_categorical,
    "zoned": _Decoder._read_zoned,
    "string": _Decoder._read_string,
    "masked": _Decoder._read_masked,
}
_READERS = {
    "int": lambda self, tree: int(tree["v"], 16),
    "tuple": lambda self, tree: tuple(self.decode_list(tree["v"])),
    "dict": _Decoder._read_dict,
    "bytes": _Decoder._read_bytes,
    "datetime": _Decoder._read_datetime,
    "date": lambda self, tree: datetime.date(*map(int, tree["v"].split("-"))),
    "timedelta": lambda self, tree: datetime.timedelta(*tree["v"]),
    "scalar": _Decoder._read_scalar,
    "array": _Decoder.read_array,
    "sparse": _Decoder._read_sparse,
    "frame": _Decoder._read_frame,
    "series": _Decoder._read_series,
    "values": lambda self, tree: self._read_values(tree["v"]),
    "index": _Decoder._read_index,
    "range": _Decoder._read_index,
    "multi": _Decoder._read_index,
    "timestamp": _Decoder._read_timestamp,
    "pandas_timedelta": _Decoder._read_pandas_timedelta,
    "NaT": _Decoder._read_missing,
    "NA": _Decoder._read_missing,
}


def decode(tree, buffers):
    """Return the value of a tree and its buffers.

    Raises ValueError for what `encode` does not write, whatever it is.
    """
    try:
        return _Decoder(buffers).decode(tree)
    except ValueError:
        raise
    except Exception as error:  # a tree of somebody else's: any library may stumble over it
        raise ValueError("%s: %s" % (type(error).__name__, error)) from error
