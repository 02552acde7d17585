"""Ask a model about a Parquet file, or a directory of them, batch by batch, and write its rows with the answers.

    table = Table(request, convert)          convert is that of model_result.py
    while table.score(ask): ...              ask(DataFrame) -> answer; returns how many rows it has scored, 0 at the end
    table.close()

The request is `{input, output, result, name, keep, features, batch}`: `result` is a tree of model_result.py, `name`
that of the new column, `keep` the columns of the input that are written too (None: all), `features` those that the
model is given where it names some (None: all), `batch` the most rows that are asked at once, which memory holds, beside
what a row group of the input takes to read.
Raises TableError. Python 3.8, pyarrow, numpy and pandas.
"""

import os

import pyarrow
import pyarrow.parquet

_TYPES = {"int": "int32", "long": "int64", "float": "float32", "double": "float64", "string": "string"}
_SHOWN = 8


class TableError(ValueError):
    """A table cannot be read, or not be written as it is asked for."""


def _list(names):
    shown = ", ".join("`%s`" % each for each in names[:_SHOWN])
    return shown + (" and %d more" % (len(names) - _SHOWN) if len(names) > _SHOWN else "")


def _find_files(path):
    """Return a file, or the files of a directory as Spark writes it."""
    if not os.path.isdir(path):
        return [path]
    names = sorted(each for each in os.listdir(path) if not each.startswith(("_", ".")))
    if any(os.path.isdir(os.path.join(path, each)) for each in names):
        raise TableError("`%s` has directories, which are partitions: `--engine spark` reads these" % path)
    files = [os.path.join(path, each) for each in names if each.endswith(".parquet")]
    if not files:
        raise TableError("`%s` has no files that end in `.parquet`" % path)
    return files


def _open(path):
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError("`%s` cannot be read as Parquet: %s" % (path, " ".join(str(error).split()))) from None


def make_type(tree):
    """Return Arrow's type of a result."""
    if "array" in tree:
        return pyarrow.list_(make_type(tree["array"]))
    if "struct" in tree:
        return pyarrow.struct([pyarrow.field(name, make_type(each)) for name, each in tree["struct"]])
    name = tree["type"]
    return pyarrow.bool_() if name == "boolean" else getattr(pyarrow, _TYPES[name])()


def make_array(converted, tree):
    """Return what `convert` has returned as an array of Arrow's."""
    if "struct" in tree:
        parts = [make_array(converted[name], each) if "struct" not in each else
                 pyarrow.array(list(converted[name]), make_type(each)) for name, each in tree["struct"]]  # fmt: skip
        return pyarrow.StructArray.from_arrays(parts, fields=list(make_type(tree)))
    values = converted.tolist() if "array" in tree else converted
    return pyarrow.array(values, type=make_type(tree), from_pandas=True)


class Table:
    """The rows that are still to be scored, and the file that they are written to."""

    def __init__(self, request, convert):
        self._convert = convert
        self._result = request["result"]
        self._batch = request["batch"]
        self._paths = _find_files(request["input"])
        first = _open(self._paths[0])
        self._schema = first.schema_arrow
        self.rows = first.metadata.num_rows + sum(_open(each).metadata.num_rows for each in self._paths[1:])
        first.close()
        self._features = self._choose_features(request["features"])
        self._keep = self._choose_kept(request["keep"], request["name"])
        fields = [self._schema.field(name) for name in self._keep]
        self.schema = pyarrow.schema(
            [*fields, pyarrow.field(request["name"], make_type(self._result))], metadata=self._schema.metadata
        )
        self._batches = self._read()
        self._writer = pyarrow.parquet.ParquetWriter(request["output"], self.schema)

    def _choose_features(self, named):
        """Return the columns that the model is given: what pandas has kept as an index is none."""
        names = [each for each in self._schema.names if not each.startswith("__index_level_")]
        return names if named is None else [each for each in named if each in names]

    def _choose_kept(self, keep, name):
        kept = self._schema.names if keep is None else keep
        missing = [each for each in kept if each not in self._schema.names]
        if missing:
            raise TableError("the input has no column %s; it has %s" % (_list(missing), _list(self._schema.names)))
        if name in kept:
            raise TableError("the input has a column `%s` already: name the new one with `--column`" % name)
        return list(kept)

    def _read(self):
        wanted = [each for each in self._schema.names if each in self._features or each in self._keep]
        for path in self._paths:
            file = _open(path)
            if not file.schema_arrow.equals(self._schema):
                raise TableError("`%s` has other columns than `%s`" % (path, self._paths[0]))
            for batch in file.iter_batches(batch_size=self._batch, columns=wanted):
                if batch.num_rows:
                    yield pyarrow.Table.from_batches([batch])
            file.close()

    def score(self, ask):
        """Score one batch and return how many rows it had. Raises TableError, and what asking raises."""
        try:
            batch = next(self._batches, None)
        except (pyarrow.ArrowException, OSError) as error:
            raise TableError("the input cannot be read on: %s" % " ".join(str(error).split())) from None
        if batch is None:
            return 0
        answer = ask(batch.select(self._features).to_pandas(ignore_metadata=True))
        converted = make_array(self._convert(answer, batch.num_rows, self._result), self._result)
        columns = [batch.column(name) for name in self._keep]
        self._writer.write_table(pyarrow.Table.from_arrays([*columns, converted], schema=self.schema))
        return batch.num_rows

    def close(self):
        """Write the end of the file."""
        self._writer.close()
