"""Turn values into JSON and raw buffers, and back: what crosses between two Pythons with other libraries, not pickled.

    encode(value) -> (tree, buffers)         the tree is JSON; `{"$": kind, ...}` stands for what JSON cannot say
    decode(tree, buffers) -> value           an equal value, of the libraries that are there

Values are None, bool, int, float, complex, str, bytes, list, tuple, dict, date, datetime, timedelta, numpy's scalars
and arrays, pandas' Index, Series, DataFrame and their scalars, and scipy's sparse matrices of the formats csr, csc and
coo. Columns of pandas' ArrowDtype cross as Arrow's IPC stream, where both sides have pyarrow. Anything else, a class
derived from one of these too, is a TypeError that names its type. Three are taken for what they hold: an OrderedDict
and a defaultdict for a dict, a bytearray for bytes.

What comes back is exact, or a CannotHoldError says what the libraries here lack. Their own classes may be others:
pandas before 2 keeps moments in nanoseconds and an index of numbers in 64 bits, pandas before 3 knows no `str` columns
(they are of objects), and a zone is of the library that it came from or else of one that is here. Which NaN a float of
Python's is, is not kept.

Where pandas is not there, a frame comes as a dictionary of lists, a Series or an Index as a list, and what is missing
as None; where numpy is not, an array comes as nested lists. A tree that nobody of us has made is a ValueError. Nothing
is ever unpickled. Python 3.8, standard library.
"""

import datetime
import importlib
import math
import re
import struct
import sys
from collections import OrderedDict, defaultdict

_TAG = "$"
_RAW_KINDS = "biufcMmUS"
_PLAIN = (type(None), bool, float, str)
_EPOCH = datetime.datetime(1970, 1, 1)
_MOST_DEPTH = 100
_MOST_AXES = 64
_MOST_EMPTY = 1 << 20
_MOST_COLUMNS = 1 << 24
_MOST_RANGE = 1 << 28


class CannotHoldError(ValueError):
    """A value is as it should be, and the libraries here have none that equals it."""


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


def _get(tree, key, kind):
    """Return a member of a tree, of one type. Raises ValueError."""
    value = tree.get(key)
    if type(value) is not kind:
        raise ValueError("`%s` of a value is no `%s`" % (key, kind.__name__))
    return value


# zones of time: [the library that made it, its name], or [the library, its offset in seconds] and a name for that

_ZONE_NAME = re.compile(r"[A-Za-z0-9_+\-]{1,64}(/[A-Za-z0-9_+\-]{1,64}){0,3}")
_ZONE_LIBRARIES = {"zoneinfo": "zoneinfo", "pytz": "pytz", "dateutil": "dateutil.tz"}


def _describe_zone(zone):
    """Return a zone as JSON. Raises TypeError for one of a library that we do not know, or without a name."""
    library = type(zone).__module__.split(".", maxsplit=1)[0]
    if type(zone) is datetime.timezone:
        return ["datetime", zone.utcoffset(None).total_seconds(), *zone.__getinitargs__()[1:]]
    name = offset = None
    if library in ("zoneinfo", "backports"):
        library, name = "zoneinfo", zone.key
    elif library == "pytz":
        name = zone.zone if zone.zone != "UTC" else None
        offset = zone.utcoffset(None) if name is None else None
    elif library == "dateutil" and type(zone).__name__ in ("tzutc", "tzoffset"):
        offset = zone.utcoffset(None)
    elif library == "dateutil" and type(zone).__name__ == "tzfile":
        name = str(zone._filename).rsplit("zoneinfo/", maxsplit=1)[-1]
    if offset is not None:
        return [library, offset.total_seconds()]
    if name is None or not _ZONE_NAME.fullmatch(name):
        _refuse(zone, "it is no time zone with a name")
    return [library, name]


def _find_zone(library, name):
    module = _find(_ZONE_LIBRARIES[library])
    if module is None:
        return None
    try:
        if library == "zoneinfo":
            return module.ZoneInfo(name)
        if library == "pytz":
            return module.timezone(name)
    except Exception:  # each has an error of its own for a zone that it does not know
        return None
    found = module.gettz(name)
    return found if type(found).__name__ in ("tzfile", "tzutc") else None


def _make_fixed_zone(library, offset, names):
    span = datetime.timedelta(seconds=offset)
    module = _find(_ZONE_LIBRARIES[library]) if library in ("pytz", "dateutil") else None
    if module is not None and library == "pytz" and not offset % 60:
        return module.FixedOffset(int(offset // 60))
    if module is not None and library == "dateutil":
        return module.tzoffset(None, offset) if offset else module.tzutc()
    return datetime.timezone(span, *names)


def _make_zone(described):
    """Return a zone of the library that it came from, of another where that is not here. Raises ValueError."""
    library, name, names = described[0], described[1], described[2:]
    if type(name) in (int, float):
        return _make_fixed_zone(library, name, names)
    if type(name) is not str or not _ZONE_NAME.fullmatch(name):  # dateutil would open any file
        raise ValueError("`%.80r` is no name of a time zone" % (name,))
    for each in sorted(_ZONE_LIBRARIES, key=lambda each: each != library):
        zone = _find_zone(each, name)
        if zone is not None:
            return zone
    if name == "UTC":
        return datetime.timezone.utc
    raise CannotHoldError("the time zone `%s` is not known here" % name)


def _place(moment, zone, fold):
    """Return what a moment on the clock of a zone can be."""
    if hasattr(zone, "localize"):  # pytz has one object for each offset, and heeds no `fold`
        placed = [zone.localize(moment, is_dst=True), zone.localize(moment, is_dst=False), moment.replace(tzinfo=zone)]
        return [each.replace(fold=fold) for each in placed]
    return [moment.replace(tzinfo=zone, fold=each) for each in (fold, 1 - fold)]


def _is_usual(pandas, described):
    """Tell whether pandas itself would have made this zone of its name or offset."""
    return described[0] == _find_usual(pandas, described[1]) and len(described) == 2


def _find_usual(pandas, name):
    major = int(pandas.__version__.split(".")[0])
    if isinstance(name, str):
        return "zoneinfo" if major >= 3 else "pytz"
    return "datetime" if major >= 2 else "pytz"


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
        if kind is complex:
            return {_TAG: "complex", "v": [value.real, value.imag]}
        found = self._encode_library(value, depth)
        return self._encode_moment(value) if found is None else found

    def encode_list(self, values, depth=0):
        """Return the trees of several values."""
        return [each if type(each) in _PLAIN else self.encode(each, depth + 1) for each in values]

    def _encode_dict(self, value, depth):
        if _TAG not in value and all(type(key) is str for key in value):
            return {key: self.encode(each, depth + 1) for key, each in value.items()}
        return {_TAG: "dict", "v": [self.encode_list(pair, depth) for pair in value.items()]}

    def _encode_moment(self, value):
        kind = type(value)
        if kind is datetime.datetime:
            tree = {_TAG: "datetime", "v": value.replace(tzinfo=None).isoformat(), "fold": value.fold}
            if value.tzinfo is not None:
                tree["tz"], tree["offset"] = _describe_zone(value.tzinfo), value.utcoffset().total_seconds()
            return tree
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
            if type(value) in (numpy.ndarray, numpy.memmap):
                return self.encode_array(value, depth)
        if pandas is not None:
            found = self._encode_pandas(value)
            if found is not None:
                return found
        if self.sparse is not None and self.sparse.issparse(value):
            return self._encode_sparse(value)
        return None

    def _encode_scalar(self, value):
        kind = value.dtype.kind
        if kind == "U":
            return {_TAG: "scalar", "dtype": "U", "v": str(value)}
        if kind == "S":
            return {_TAG: "scalar", "dtype": "S", "b": self.add(bytes(value))}
        if kind not in _RAW_KINDS:
            _refuse(value)
        return {_TAG: "scalar", "dtype": value.dtype.str, "b": self.add(value.tobytes())}

    def encode_array(self, value, depth=0):
        """Return the tree of an array; its own memory is the buffer where it lies in one piece."""
        dtype = value.dtype
        if dtype.kind == "O" or (dtype.kind == "T" and not hasattr(dtype, "na_object")):
            flat = self.encode_list(value.ravel().tolist() if dtype.kind == "T" else list(value.ravel()), depth)
            return {_TAG: "array", "dtype": dtype.kind, "shape": list(value.shape), "v": flat}
        if dtype.kind not in _RAW_KINDS:
            _refuse(value, "its dtype is `%s`" % dtype)
        if not dtype.itemsize:  # texts of no length at all
            value = value.astype(dtype.kind + "1")
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        lying = value.T if order == "F" else self.numpy.ascontiguousarray(value)
        tree = {_TAG: "array", "dtype": value.dtype.str, "shape": list(value.shape)}
        tree["b"] = self.add(memoryview(lying.reshape(-1).view("u1")) if lying.size else b"")
        if order == "F":
            tree["order"] = "F"
        return tree

    def _encode_sparse(self, value):
        if value.format not in ("csr", "csc", "coo"):
            _refuse(value, "convert it with `tocsr()`")
        if len(value.shape) != 2:
            _refuse(value, "it has not two axes")
        names = ("data", "row", "col") if value.format == "coo" else ("data", "indices", "indptr")
        tree = {_TAG: "sparse", "format": value.format, "shape": [int(each) for each in value.shape]}
        tree["array"] = type(value).__name__.endswith("_array")  # once a class derived from the matrices'
        tree["v"] = [self.encode_array(getattr(value, name)) for name in names]
        return tree

    # pandas

    def _encode_pandas(self, value):
        pandas = self.pandas
        if type(value) is pandas.DataFrame:
            return self._encode_frame(value)
        if type(value) is pandas.Series:
            tree = {_TAG: "series", "v": self._encode_values(value), "name": self.encode(value.name)}
            return dict(tree, index=self._encode_part(value.index, "the index"))
        if isinstance(value, pandas.Index):
            return self._encode_index(value)
        if isinstance(value, pandas.api.extensions.ExtensionArray):
            return {_TAG: "values", "v": self._encode_values(value)}
        if value is pandas.NaT:
            return {_TAG: "NaT"}
        if value is getattr(pandas, "NA", pandas):
            return {_TAG: "NA"}
        if type(value) is pandas.Timestamp:
            raw = value.to_datetime64()
            zone = None if value.tzinfo is None else self._describe_zone(value.tzinfo)
            return {_TAG: "timestamp", "v": int(raw.astype("i8")), "dtype": raw.dtype.str, "tz": zone}
        if type(value) is pandas.Timedelta:
            raw = value.to_timedelta64()
            return {_TAG: "pandas_timedelta", "v": int(raw.astype("i8")), "dtype": raw.dtype.str}
        return None

    def _describe_zone(self, zone):
        """Return a zone of pandas' as JSON: one of the library that is usual here may be of that usual there."""
        described = _describe_zone(zone)
        return [None, *described[1:]] if _is_usual(self.pandas, described) else described

    def _encode_frame(self, frame):
        tree = {_TAG: "frame", "columns": self._encode_part(frame.columns, "the columns' names")}
        tree["index"] = self._encode_part(frame.index, "the index")
        dtypes = set(frame.dtypes)
        dtype = next(iter(dtypes), None)
        if len(dtypes) == 1 and isinstance(dtype, self.numpy.dtype) and dtype.kind in "biufc":
            return dict(tree, block=self.encode_array(frame.to_numpy().T))
        return dict(tree, v=[self._encode_column(name, column) for name, column in frame.items()])

    def _encode_column(self, name, column):
        try:
            return self._encode_values(column)
        except TypeError as error:
            raise TypeError("the column `%s`: %s" % (name, error)) from None

    def _encode_part(self, index, what):
        try:
            return self._encode_index(index)
        except TypeError as error:
            raise TypeError("%s: %s" % (what, error)) from None

    def _encode_values(self, column):
        """Return the tree of a Series', an Index' or an extension array's values, by their dtype."""
        pandas, numpy, dtype = self.pandas, self.numpy, column.dtype
        if isinstance(dtype, numpy.dtype) or type(dtype).__name__ in ("PandasDtype", "NumpyEADtype"):
            return self.encode_array(numpy.asarray(column))
        values = getattr(column, "array", column)
        if isinstance(dtype, pandas.CategoricalDtype):
            tree = {_TAG: "categorical", "codes": self.encode_array(numpy.asarray(values.codes))}
            return dict(tree, categories=self._encode_index(dtype.categories), ordered=bool(dtype.ordered))
        if isinstance(dtype, pandas.DatetimeTZDtype):
            moments = numpy.asarray(values.tz_convert(None))
            return {_TAG: "zoned", "v": self.encode_array(moments), "tz": self._describe_zone(dtype.tz)}
        if isinstance(dtype, getattr(pandas, "StringDtype", ())):
            is_na = getattr(dtype, "na_value", None) is pandas.NA
            texts = [str(each) if isinstance(each, str) else None for each in values]
            missing, storage = "NA" if is_na else "nan", getattr(dtype, "storage", "python")
            return {_TAG: "string", "v": texts, "missing": missing, "storage": storage}
        if str(dtype) in _MASKED:
            data, mask = (self.encode_array(numpy.asarray(each)) for each in (values._data, values._mask))
            return {_TAG: "masked", "dtype": str(dtype), "v": data, "mask": mask}
        if isinstance(dtype, getattr(pandas, "ArrowDtype", ())):
            return {_TAG: "arrow", "b": self.add(_format_arrow(values.__arrow_array__()))}
        raise TypeError("values of the dtype `%s` cannot cross" % dtype)

    def _encode_index(self, index):
        pandas = self.pandas
        names = self.encode_list(list(index.names))
        if isinstance(index, pandas.MultiIndex):
            codes = [self.encode_array(self.numpy.asarray(each)) for each in index.codes]
            levels = [self._encode_index(each) for each in index.levels]
            return {_TAG: "multi", "levels": levels, "codes": codes, "names": names}
        tree = {_TAG: "index"} if names == [None] else {_TAG: "index", "name": names[0]}
        if isinstance(index, pandas.RangeIndex):
            return dict(tree, **{_TAG: "range", "v": [index.start, index.stop, index.step]})
        if getattr(index, "freqstr", None):
            tree["freq"] = index.freqstr
        return dict(tree, v=self._encode_values(index))


def _format_arrow(column):
    """Return an array of pyarrow's as Arrow's IPC stream: a table of one column without a name."""
    pyarrow = importlib.import_module("pyarrow")
    table, sink = pyarrow.table([column], names=[""]), pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def encode(value):
    """Return the tree of a value, which is JSON, and its buffers. Raises TypeError, with the type that cannot cross.

    A text may have surrogates: whoever writes the JSON must keep two of them apart.
    """
    encoder = _Encoder()
    return encoder.encode(value), encoder.buffers


_DTYPE = re.compile(r"([<>|=])([%s])(\d{0,9})(?:\[(\d{0,9})([A-Za-z]{1,7})\])?" % _RAW_KINDS)
_MASKED = (
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "boolean",
)  # fmt: skip
_CODES = {
    "f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "u8": "Q", "u4": "I", "u2": "H",
    "u1": "B", "b1": "?", "M8": "q", "m8": "q",
}  # fmt: skip
_MICROSECONDS = {
    "W": 604800000000, "D": 86400000000, "h": 3600000000, "m": 60000000, "s": 1000000, "ms": 1000, "us": 1,
}  # fmt: skip
_PER_MICROSECOND = {"ns": 10**3, "ps": 10**6, "fs": 10**9, "as": 10**12}
_NAT = -(2**63)
_LEAST_ARROW = 15  # CVE-2023-47248: before 14.0.1 a stream could hold a pickle


def _parse_dtype(name):
    """Return the parts of an array's dtype: byte order, kind, size, and a moment's unit. Raises ValueError."""
    found = _DTYPE.fullmatch(name) if type(name) is str else None
    if found is None or (found[3] or "0").strip("0") == "" or (found[5] is not None and found[2] not in "Mm"):
        raise ValueError("`%.80r` is no dtype of a raw array" % (name,))
    return found


def _check_shape(shape):
    """Return how many values an array has. Raises ValueError."""
    if len(shape) > _MOST_AXES or not all(type(each) is int and 0 <= each < 2**62 for each in shape):
        raise ValueError("`%.80r` is no shape" % (shape,))
    return math.prod(shape)


def _nest(flat, shape, order="C"):
    """Return the nested lists of an array's values, as they lie in memory."""
    if not shape:
        return flat[0]
    if 0 in shape and math.prod(filter(None, shape)) > _MOST_EMPTY:
        raise CannotHoldError("an array of the shape `%.80r` needs numpy" % (shape,))
    if len(shape) == 1:
        return flat
    if order == "F":
        return [_nest(flat[at :: shape[0]], shape[1:], order) for at in range(shape[0])]
    size = math.prod(shape[1:])
    return [_nest(flat[at * size : (at + 1) * size], shape[1:]) for at in range(shape[0])]


def _read_plainly(name, content):
    """Return a list of an array's values, without numpy."""
    dtype = _parse_dtype(name)
    order, kind, size = ">" if dtype[1] == ">" else "<", dtype[2], int(dtype[3])
    size *= 4 if kind == "U" else 1
    if len(content) % size:
        raise ValueError("an array of the dtype `%s` does not end with a value" % name)
    if kind in "US":
        texts = [bytes(content[at : at + size]) for at in range(0, len(content), size)]
        if kind == "S":
            return [each.rstrip(b"\0") for each in texts]
        coding = "utf-32-be" if order == ">" else "utf-32-le"
        return [each.decode(coding, "surrogatepass").rstrip("\0") for each in texts]
    if kind == "c" and size in (8, 16):
        parts = _read_plainly("%sf%d" % (order, size // 2), content)
        return [complex(*parts[at : at + 2]) for at in range(0, len(parts), 2)]
    code = _CODES.get(kind + str(size))
    if code is None:
        raise CannotHoldError("an array of the dtype `%s` needs numpy" % name)
    values = list(struct.unpack("%s%d%s" % (order, len(content) // size, code), content))
    return [_read_moment(dtype, each) for each in values] if kind in "Mm" else values


def _read_moment(dtype, number):
    """Return a moment or a span of numpy's as Python's. Raises ValueError where that is not exact."""
    if number == _NAT:
        return None
    unit, number = dtype[5], number * int(dtype[4] or 1)
    count, rest = divmod(number * _MICROSECONDS.get(unit, 1), _PER_MICROSECOND.get(unit, 1))
    if rest or (unit not in _MICROSECONDS and unit not in _PER_MICROSECOND):
        raise CannotHoldError(
            "%d of the dtype `%s` is no whole number of microseconds: it needs pandas" % (number, dtype[0])
        )
    try:
        span = datetime.timedelta(microseconds=count)
        return _EPOCH + span if dtype[2] == "M" else span
    except OverflowError:
        raise CannotHoldError(
            "%d of the dtype `%s` is out of Python's years: it needs pandas" % (number, dtype[0])
        ) from None


def _is_of_objects(values):
    return str(getattr(values, "dtype", "")) == "object"


class _Decoder:
    """Read trees with their buffers."""

    def __init__(self, buffers):
        self.buffers = buffers
        self._used = set()
        self._modules = {}

    def _find(self, name):
        if name not in self._modules:
            self._modules[name] = _find(name)
        return self._modules[name]

    @property
    def numpy(self):
        """The module, or None."""
        return self._find("numpy")

    @property
    def pandas(self):
        """The module, or None."""
        return self._find("pandas")

    def decode(self, tree):
        """Return the value of a tree."""
        if type(tree) is list:
            return self.decode_list(tree)
        if type(tree) is not dict:
            return tree
        if _TAG not in tree:
            return {key: self.decode(each) for key, each in tree.items()}
        return self._read(tree, _READERS, "value")

    def decode_list(self, trees):
        """Return the values of several trees."""
        return [self.decode(each) if type(each) in (list, dict) else each for each in trees]

    def _read(self, tree, readers, what):
        kind = tree.get(_TAG) if type(tree) is dict else None
        read = readers.get(kind) if type(kind) is str else None
        if read is None:
            raise ValueError("there is no %s of the kind `%.80r`" % (what, kind))
        if read not in _OF_PANDAS or self.pandas is not None:
            return read(self, tree)
        kept, self._modules["numpy"] = self.numpy, None  # all that a frame holds is to be Python's own
        try:
            return read(self, tree)
        finally:
            self._modules["numpy"] = kept

    def _get_buffer(self, tree):
        """Return a buffer; each is of one value, or a short tree could ask for much memory."""
        number = tree.get("b")
        if type(number) is not int or not 0 <= number < len(self.buffers) or number in self._used:
            raise ValueError("there is no buffer `%.80r`" % (number,))
        self._used.add(number)
        return self.buffers[number]

    def _read_int(self, tree):
        return int(_get(tree, "v", str), 16)

    def _read_complex(self, tree):
        return complex(*_get(tree, "v", list))

    def _read_tuple(self, tree):
        return tuple(self.decode_list(_get(tree, "v", list)))

    def _read_bytes(self, tree):
        return bytes(self._get_buffer(tree))

    def _read_dict(self, tree):
        pairs = _get(tree, "v", list)
        if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
            raise ValueError("a dictionary has other things than pairs")
        return dict(map(self.decode_list, pairs))

    def _read_date(self, tree):
        return datetime.date.fromisoformat(_get(tree, "v", str))

    def _read_timedelta(self, tree):
        return datetime.timedelta(*_get(tree, "v", list))

    def _read_datetime(self, tree):
        moment, fold = datetime.datetime.fromisoformat(_get(tree, "v", str)), _get(tree, "fold", int)
        if "tz" not in tree:
            return moment.replace(fold=fold)
        placed = _place(moment, _make_zone(tree["tz"]), fold)
        for each in placed:
            if each.utcoffset().total_seconds() == tree["offset"]:
                return each
        raise CannotHoldError("`%s` in the time zone `%s` is another moment here" % (moment, tree["tz"][1]))

    def _read_scalar(self, tree):
        if tree["dtype"] in ("U", "S"):
            text = _get(tree, "v", str) if tree["dtype"] == "U" else bytes(self._get_buffer(tree))
            make = self.numpy and (self.numpy.str_ if tree["dtype"] == "U" else self.numpy.bytes_)
            return make(text) if make else text
        values = self._read_raw(tree, 1)
        return values[0]

    def _read_raw(self, tree, count):
        """Return the values of a buffer, in one row. Raises ValueError where they are not `count`."""
        content, name = self._get_buffer(tree), tree["dtype"]
        _parse_dtype(name)
        if self.numpy is None:
            flat = _read_plainly(name, content)
        elif len(content):
            flat = self.numpy.frombuffer(content, dtype=self.numpy.dtype(name))
        else:
            flat = self.numpy.empty(0, dtype=self.numpy.dtype(name))
        if len(flat) != count:
            raise ValueError("an array that should have %d values has %d" % (count, len(flat)))
        return flat

    def read_array(self, tree):
        """Return an array, nested lists without numpy."""
        shape = _get(tree, "shape", list)
        count, order = _check_shape(shape), tree.get("order", "C")
        if tree["dtype"] in ("O", "T"):
            return self._read_objects(tree, shape, count)
        flat = self._read_raw(tree, count)
        if self.numpy is None:
            return _nest(flat, shape, order)
        return flat.reshape(shape[::-1]).T if order == "F" else flat.reshape(shape)

    def _read_objects(self, tree, shape, count):
        values = self.decode_list(_get(tree, "v", list))
        if len(values) != count:
            raise ValueError("an array that should have %d values has %d" % (count, len(values)))
        if self.numpy is None:
            return _nest(values, shape)
        found = self.numpy.empty(count, dtype=object)
        for at, each in enumerate(values):
            found[at] = each
        make = getattr(getattr(self.numpy, "dtypes", None), "StringDType", None) if tree["dtype"] == "T" else None
        return found.astype(make()).reshape(shape) if make else found.reshape(shape)

    def _read_row(self, tree):
        """Return an array of one axis."""
        if len(_get(tree, "shape", list)) != 1:
            raise ValueError("a column has other than one axis")
        return self.read_array(tree)

    def _read_sparse(self, tree):
        sparse, format_, shape = _find("scipy.sparse"), tree["format"], _get(tree, "shape", list)
        if format_ not in ("csr", "csc", "coo") or len(shape) != 2:
            raise ValueError("`%.80r` is no format of a sparse matrix of two axes" % (format_,))
        if sparse is None:
            raise CannotHoldError("a sparse matrix needs scipy")
        _check_shape(shape)
        parts = [self._read_row(each) for each in _get(tree, "v", list)]
        make = getattr(sparse, "%s_%s" % (format_, "array" if tree["array"] else "matrix"), None)
        if make is None:
            raise CannotHoldError(
                "a sparse %s needs %s" % ("array" if tree["array"] else "matrix", "scipy 1.8 or later")
            )
        data, first, second = parts
        if data.dtype.kind not in "biufc" or first.dtype.kind not in "iu" or second.dtype.kind not in "iu":
            raise ValueError("a sparse matrix has values or indices that are no numbers")
        if format_ == "coo":
            return make((data, (first, second)), shape=tuple(shape))
        found = make((data, first, second), shape=tuple(shape))
        found.check_format(full_check=True)  # an index out of range would be read by C
        return found

    # pandas

    def _read_frame(self, tree):
        pandas = self.pandas
        names, index = self._read_index(tree["columns"]), self._read_index(tree["index"])
        if pandas is None:
            return self._read_columns(tree, names)
        if len(names) > _MOST_COLUMNS:
            raise ValueError("a table has too many columns")
        if "block" in tree:
            block = self.read_array(tree["block"])
            if block.shape != (len(names), len(index)) or block.dtype.kind not in "biufc":
                raise ValueError("a table has another shape than its names and its index")
            return pandas.DataFrame(block.T, index=index, columns=names, copy=False)
        columns = _get(tree, "v", list)
        if len(columns) != len(names):
            raise ValueError("a table has not as many names as columns")
        columns = {number: self._read_column(each, index, names[number]) for number, each in enumerate(columns)}
        frame = pandas.DataFrame(columns, index=index, columns=range(len(names)))
        frame.columns = names
        return frame

    def _read_columns(self, tree, names):
        """Return a frame without pandas."""
        columns = self.read_array(tree["block"]) if "block" in tree else map(self._read_values, _get(tree, "v", list))
        found = dict(zip(names, columns))
        if len(found) != len(names):
            raise CannotHoldError("a table whose columns have no names of their own needs pandas")
        return found

    def _read_column(self, tree, index, name):
        try:
            return self._make_series(tree, index)
        except CannotHoldError as error:
            raise CannotHoldError("the column `%.80s`: %s" % (name, error)) from error

    def _hold(self, make, values, **options):
        """Return pandas' own of values, all of them. Raises ValueError where it has not the range for moments."""
        dtype = getattr(values, "dtype", None)
        if not isinstance(dtype, self.numpy.dtype) or dtype.kind not in "mM":
            return make(values, **options)
        why = ""
        try:
            found = make(values, **options)
            if getattr(found, "dtype", dtype) == dtype:
                return found
            if ((self.numpy.asarray(found).astype(dtype) == values) | self.numpy.isnat(values)).all():
                return found
        except (ValueError, OverflowError) as error:
            why = ": %s" % error
        raise CannotHoldError("pandas here cannot hold what is of the dtype `%s`%s" % (dtype, why))

    def _make_series(self, tree, index, name=None):
        """Return a Series whose dtype pandas does not guess."""
        values = self._read_values(tree)
        dtype = object if _is_of_objects(values) else None
        return self._hold(self.pandas.Series, values, index=index, name=name, dtype=dtype, copy=False)

    def _read_series(self, tree):
        if self.pandas is None:
            return self._read_values(tree["v"])
        index = self._read_index(tree["index"])
        return self._make_series(tree["v"], index, self.decode(tree.get("name")))

    def _read_extension(self, tree):
        values = self._read_values(tree["v"])
        if self.pandas is None or not isinstance(values, self.numpy.ndarray):
            return values
        return self.pandas.array(values, dtype=values.dtype)

    def _read_values(self, tree):
        """Return a column's array; a list without pandas."""
        return self._read(tree, _COLUMNS, "column")

    def _read_categorical(self, tree):
        codes, categories = self._read_row(tree["codes"]), self._read_level(tree["categories"])
        if self.pandas is None:
            return [categories[each] if each >= 0 else None for each in codes]
        return self.pandas.Categorical.from_codes(codes, categories=categories, ordered=tree["ordered"] is True)

    def _make_zone(self, described):
        if described[0] is None and self.pandas is not None:
            return _make_zone([_find_usual(self.pandas, described[1]), *described[1:]])
        return _make_zone(described)

    def _read_zoned(self, tree):
        moments, zone = self._read_row(tree["v"]), self._make_zone(tree["tz"])
        if self.pandas is None:
            return [each and each.replace(tzinfo=datetime.timezone.utc).astimezone(zone) for each in moments]
        if moments.dtype.kind != "M":
            raise ValueError("a column of moments has other values")
        found = self._hold(self.pandas.DatetimeIndex, moments)
        return found.tz_localize("UTC").tz_convert(zone).array

    def _read_string(self, tree):
        texts = _get(tree, "v", list)
        if not all(each is None or type(each) is str for each in texts):
            raise ValueError("a column of texts has other values")
        if self.pandas is None:
            return texts
        is_na = tree["missing"] == "NA"
        options = {} if is_na else {"na_value": float("nan")}
        for storage in (tree["storage"], None, "python"):  # there may be no pyarrow, or it cannot hold a surrogate
            try:
                dtype = self.pandas.StringDtype(**(dict(options, storage=storage) if storage else options))
                return self.pandas.array(texts, dtype=dtype)
            except (AttributeError, ImportError, TypeError, ValueError):
                continue
        if is_na:
            raise CannotHoldError("pandas here has no column of the dtype `string`")
        found = self.numpy.empty(len(texts), dtype=object)
        found[:] = [float("nan") if each is None else each for each in texts]
        return found

    def _read_masked(self, tree):
        values, mask, name = self._read_row(tree["v"]), self._read_row(tree["mask"]), tree["dtype"]
        if name not in _MASKED:
            raise ValueError("`%.80r` is no nullable dtype" % (name,))
        if len(values) != len(mask):
            raise ValueError("a nullable column does not say of each value whether it is missing")
        if self.pandas is None:
            return [None if missing else each for each, missing in zip(values, mask)]
        kind = "Boolean" if name == "boolean" else "Floating" if name.startswith("Float") else "Integer"
        make = getattr(self.pandas.arrays, kind + "Array", None)
        if make is None:
            raise CannotHoldError("pandas here has no column of the dtype `%s`" % name)
        found = make(values, mask)
        if str(found.dtype) != name:
            raise ValueError("a column of the dtype `%s` has other values" % name)
        return found

    def _read_arrow(self, tree):
        content, pyarrow = self._get_buffer(tree), self._find("pyarrow")
        make = None if self.pandas is None else getattr(self.pandas.arrays, "ArrowExtensionArray", None)
        if pyarrow is None or make is None:
            raise CannotHoldError("it is Arrow's, and pandas 1.5 with pyarrow is not there")
        if int(pyarrow.__version__.split(".")[0]) < _LEAST_ARROW:
            raise CannotHoldError("pyarrow %s would unpickle what it reads; 15 does not" % pyarrow.__version__)
        table = pyarrow.ipc.open_stream(content).read_all()
        table.validate(full=True)
        if table.num_columns != 1:
            raise ValueError("a column of Arrow's is a table of %d" % table.num_columns)
        return make(table.column(0))

    def _read_level(self, tree):
        """Return the values that codes choose from, which pandas will write out."""
        found = self._read_index(tree)
        if len(found) > _MOST_RANGE:
            raise ValueError("there are too many categories")
        return found

    def _read_index(self, tree):
        return self._read(tree, _INDEXES, "index")

    def _read_range(self, tree):
        found = range(*_get(tree, "v", list))
        return found if self.pandas is None else self.pandas.RangeIndex(found, name=self.decode(tree.get("name")))

    def _read_plain_index(self, tree):
        values = self._read_values(tree["v"])
        if self.pandas is None:
            return values
        dtype = object if _is_of_objects(values) else None
        name = self.decode(tree.get("name"))
        found = self._hold(self.pandas.Index, values, name=name, dtype=dtype, tupleize_cols=False)
        if "freq" in tree:
            try:
                found.freq = tree["freq"]
            except (ValueError, AttributeError):
                pass  # another pandas has other names for frequencies
        return found

    def _read_multi(self, tree):
        levels = [self._read_level(each) for each in _get(tree, "levels", list)]
        codes = [self._read_row(each) for each in _get(tree, "codes", list)]
        if self.pandas is None:
            columns = [[level[at] if at >= 0 else None for at in each] for level, each in zip(levels, codes)]
            return list(zip(*columns))
        return self.pandas.MultiIndex(levels=levels, codes=codes, names=self.decode_list(_get(tree, "names", list)))

    def _get_raw(self, tree, kind):
        dtype, number = _parse_dtype(tree["dtype"]), _get(tree, "v", int)
        if dtype[2] != kind:
            raise ValueError("`%s` is no dtype of a moment" % dtype[0])
        return dtype, number

    def _read_timestamp(self, tree):
        dtype, number = self._get_raw(tree, "M")
        zone = None if tree.get("tz") is None else self._make_zone(tree["tz"])
        if self.pandas is None:
            moment = _read_moment(dtype, number)
            return moment if zone is None else moment.replace(tzinfo=datetime.timezone.utc).astimezone(zone)
        found = self._hold(self.pandas.Timestamp, self._make_moment(dtype, number))
        return found if zone is None else found.tz_localize("UTC").tz_convert(zone)

    def _read_pandas_timedelta(self, tree):
        dtype, number = self._get_raw(tree, "m")
        if self.pandas is None:
            return _read_moment(dtype, number)
        return self._hold(self.pandas.Timedelta, self._make_moment(dtype, number))

    def _make_moment(self, dtype, number):
        return self.numpy.array(number, "i8").view(dtype[0])[()]

    def _read_missing(self, tree):
        return None if self.pandas is None else getattr(self.pandas, tree[_TAG])


_INDEXES = {"index": _Decoder._read_plain_index, "range": _Decoder._read_range, "multi": _Decoder._read_multi}
_COLUMNS = {
    "array": _Decoder._read_row,
    "categorical": _Decoder._read_categorical,
    "zoned": _Decoder._read_zoned,
    "string": _Decoder._read_string,
    "masked": _Decoder._read_masked,
    "arrow": _Decoder._read_arrow,
}
_PANDAS = {
    "frame": _Decoder._read_frame,
    "series": _Decoder._read_series,
    "values": _Decoder._read_extension,
    "timestamp": _Decoder._read_timestamp,
    "pandas_timedelta": _Decoder._read_pandas_timedelta,
    "NaT": _Decoder._read_missing,
    "NA": _Decoder._read_missing,
    **_INDEXES,
}
_READERS = {
    "int": _Decoder._read_int,
    "complex": _Decoder._read_complex,
    "tuple": _Decoder._read_tuple,
    "dict": _Decoder._read_dict,
    "bytes": _Decoder._read_bytes,
    "datetime": _Decoder._read_datetime,
    "date": _Decoder._read_date,
    "timedelta": _Decoder._read_timedelta,
    "scalar": _Decoder._read_scalar,
    "array": _Decoder.read_array,
    "sparse": _Decoder._read_sparse,
    **_PANDAS,
}
_OF_PANDAS = frozenset(_PANDAS.values())


def decode(tree, buffers):
    """Return the value of a tree and its buffers.

    Raises ValueError for what `encode` does not write, whatever it is, and CannotHoldError, which is one too.
    """
    try:
        return _Decoder(buffers).decode(tree)
    except ValueError:
        raise
    except Exception as error:  # a tree of somebody else's: any library may stumble over it
        raise ValueError("%s: %s" % (type(error).__name__, error)) from error
