"""`repro score`: ask a model about every row of a Parquet file, on this machine or on Spark."""

from __future__ import annotations

import argparse
import os
import shlex

from repro.cli import console
from repro.cli.model_options import add_model, add_model_options, make_load_request, read_pairs
from repro.cli.options import add_cache, make_machine, make_parser
from repro.errors import ExitCode, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.models.score_table import TableRequest

_EXAMPLES = """\
  repro score model rows.parquet scored.parquet --restore
  repro score models:/wine/2 rows.parquet scored.parquet --restore --keep id --result-type 'array<double>'
  repro score model rows.parquet scored.parquet --restore --engine spark --master 'local[4]'
"""


def _make_parser() -> argparse.ArgumentParser:
    parser = make_parser("score", "Ask a model about every row of a Parquet file, and write them with it.", _EXAMPLES)
    add_model(parser)
    parser.add_argument("input", metavar="INPUT.parquet", help="a file, or a directory as Spark writes it")
    parser.add_argument("output", metavar="OUTPUT.parquet", help="a file; with `--engine spark` a directory")
    parser.add_argument("--engine", choices=("local", "spark"), default="local", help="what does it (default: local)")
    parser.add_argument("--result-type", default="double", metavar="TYPE", help="of the new column (default: double)")
    parser.add_argument("--column", default="prediction", metavar="NAME", help="the new column (default: prediction)")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--keep", action="append", metavar="NAME", help="keep this column of the input (default: all)")
    kept.add_argument("--only-prediction", action="store_true", help="keep no column of the input")
    parser.add_argument(
        "--param", "-P", action="append", default=[], metavar="NAME=VALUE", help="of the model, as JSON"
    )
    spark = parser.add_argument_group("with `--engine spark`")
    spark.add_argument("--master", metavar="URL", help="`local[4]`, `spark://HOST:PORT`, `yarn` (default: Spark's own)")
    spark.add_argument("--conf", action="append", default=[], metavar="NAME=VALUE", help="for Spark (repeatable)")
    spark.add_argument("--bundle", metavar="FILE.zip", help="what executors restore from, without a network")
    spark.add_argument("--packed", metavar="NAME", help="an environment that `spark.archives` unpacks as NAME")
    add_model_options(parser)
    add_cache(parser)
    return parser


def _read_value(text: str) -> object:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_request(options: argparse.Namespace) -> TableRequest:
    from repro.models.result_type import parse_result_type
    from repro.models.score_table import TableRequest

    kept = () if options.only_prediction else options.keep
    params = {name: _read_value(text) for name, text in read_pairs(options.param, "--param").items()}
    return TableRequest(
        input=os.path.expanduser(options.input),
        output=os.path.expanduser(options.output),
        result=parse_result_type(options.result_type),
        column=options.column,
        keep=None if kept is None else tuple(kept),
        params=params or None,
    )


def run(arguments: list[str]) -> int:
    """Write the rows of a file with what a model answers to them."""
    options = _make_parser().parse_args(arguments)
    request = _read_request(options)
    conf = read_pairs(options.conf, "--conf")
    if options.engine == "local" and (options.master or conf or options.bundle or options.packed):
        raise UsageError("`--master`, `--conf`, `--bundle` and `--packed` are for `--engine spark`")
    command = f"repro score {shlex.quote(options.model)} ... --restore"
    with console.Progress() as progress:
        machine = make_machine(options, report=progress)
        load = make_load_request(options, machine, command=command)
        if options.engine == "spark":
            from repro.models.spark_score import SparkOptions, score_on_spark

            where = SparkOptions(
                master=options.master, conf=conf, bundle=options.bundle, packed=options.packed, cache=options.cache
            )
            scored = score_on_spark(machine, load, request, where, console.note)
        else:
            from repro.models.score_table import score_table

            scored = score_table(machine, load, request, console.note)
    if options.json:
        console.show_json(
            {
                "output": request.output,
                "engine": options.engine,
                "rows": scored.rows,
                "seconds": round(scored.seconds, 3),
                "column": request.column,
                "environment": scored.environment.to_dict() if scored.environment else None,
            }
        )
    else:
        rate = scored.rows / max(scored.seconds, 1e-9)
        console.say(f"{request.output}: {scored.rows:,} rows in {scored.seconds:.1f} s ({rate:,.0f} rows/s)")
    return ExitCode.DONE
