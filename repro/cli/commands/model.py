"""`repro model`: look at a model without loading it."""

from __future__ import annotations

from repro import settings
from repro.cli import console
from repro.cli.deeds import Deeds
from repro.cli.model_options import add_model
from repro.cli.options import add_cache, add_python, make_machine, make_parser
from repro.errors import ExitCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.models.overview import Overview

_EXAMPLES = """\
  repro model inspect model
  repro model inspect models:/wine/2 --json
"""


def _describe_needs(overview: Overview) -> str:
    directory = overview.directory
    file = directory.lock or directory.loose_file
    if file is None:
        return "nothing says what it needs: it cannot be restored"
    if overview.drift is None:
        return f"{file.name}, which cannot be compared with the environment here"
    if not overview.drift:
        return f"{file.name}, which the environment here satisfies"
    return f"{file.name}, which the environment here does not satisfy: {len(overview.drift.changes)} differences"


def _list_facts(overview: Overview) -> list[tuple[str, str]]:
    model = overview.directory.model
    altered = (*overview.altered.changed, *overview.altered.missing)
    own = model.own
    whole = "not noted when it was saved" if own is None or not own.files else "as they were saved"
    facts = [
        ("path", str(overview.directory.path)),
        ("flavors", ", ".join(sorted(model.flavors))),
        ("loaded as", overview.loadable[0] if overview.loadable else "nothing: no flavor can be loaded here"),
        ("runs code", "yes: load it only where you trust who saved it" if overview.runs_code else "no"),
        ("needs", _describe_needs(overview)),
        ("files", f"changed since: {', '.join(altered)}" if altered else whole),
        ("bytes", str(overview.size_bytes)),
        ("saved", model.utc_time_created or ""),
        ("run", model.run_id or ""),
        ("MLflow", model.mlflow_version or ""),
    ]
    return [(name, value) for name, value in facts if value]


def _list_fields(overview: Overview) -> list[list[str]]:
    content = overview.to_dict()
    rows = []
    for part in ("inputs", "outputs", "params"):
        fields = content[part]
        for each in fields if isinstance(fields, list) else ():
            shape = f" {tuple(each['shape'])}" if "shape" in each else ""
            is_optional = each.get("required") is False
            rows.append([part, str(each["name"] or ""), f"{each['type']}{shape}", "optional" if is_optional else ""])
    return rows


def _inspect(arguments: list[str]) -> int:
    parser = make_parser("model inspect", "Say what a model is, takes and needs, without loading it.", _EXAMPLES)
    add_model(parser)
    parser.add_argument("--run-id", metavar="ID", help="MODEL is a path of this run's artifacts")
    add_python(parser, "the interpreter whose environment is compared (default: the active one)")
    add_cache(parser)
    options = parser.parse_args(arguments)

    from repro.models.overview import look_at_model

    machine = make_machine(options)
    python = settings.choose_python(options.python, machine.environ)
    overview = look_at_model(machine, options.model, run_id=options.run_id, python=python)
    if options.json:
        console.show_json(overview.to_dict())
    else:
        console.show_table(["", overview.directory.name], [list(each) for each in _list_facts(overview)])
        if fields := _list_fields(overview):
            console.say("")
            console.show_table(["part", "name", "type", ""], fields)
    return ExitCode.NO if overview.altered else ExitCode.DONE


DEEDS = Deeds(
    command="model",
    summary="Look at models.",
    deeds={"inspect": (_inspect, "what a model is, takes and needs, without loading it")},
)
run = DEEDS.run
