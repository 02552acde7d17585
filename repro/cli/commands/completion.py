"""`repro completion`: static scripts, so that completing costs no start of Python."""

from __future__ import annotations

from repro.cli import console
from repro.cli.main import COMMANDS
from repro.cli.options import make_parser
from repro.errors import ExitCode

_INDEXES = "--index-url --extra-index-url --find-links"
_RUN = (
    "--restore --env-manager --as-of --with --write-lock --storage-dir --lenient-types --experiment --backend "
    "--backend-config --offline --timeout --no-snapshot --no-observe --python --cache"
)
_PROJECT = f"--entry-point --param --version --no-restore {_RUN}"
_MODEL = "--restore --policy --run-id --flavor --offline --as-of --python --cache"
_OPTIONS = {
    "snapshot": "--output --check --prove --deep --strict --refresh --used --allow-missing --engine "
    f"{_INDEXES} "
    "--python --cache --json --verbose --help",
    "lock": f"--output --check --as-of --extra --group --engine {_INDEXES} --python --cache --json --verbose --help",
    "export": f"--format --output --wheels --allow-missing {_INDEXES} --cache --json --verbose --help",
    "bundle": f"--output --offline --allow-missing --python --cache --json --verbose --help {_INDEXES}",
    "restore": "--offline --allow-missing --used --verify --repair --into --force --link --engine --python --cache "
    "--json --verbose --help",
    "run": f"{_PROJECT} --json --verbose --help",
    "sweep": f"{_PROJECT} --jobs --sample --seed --metric --goal --fail-fast --resume --new --json --verbose --help",
    "init": "--vscode --pre-commit --dry-run --python --cache --json --verbose --help",
    "source": f"{_RUN} --json --verbose --help",
    "exec": f"--param {_RUN} --json --verbose --help",
    "watch": f"--param {_RUN} --json --verbose --help",
    "params": "--json --verbose --help",
    "model": "inspect --run-id --python --cache --json --verbose --help",
    "predict": f"--model --input --output --type --env {_MODEL} --json --verbose --help",
    "score": "--engine --result-type --column --keep --only-prediction --param --env --master --conf --bundle --packed "
    f"{_MODEL} --json --verbose --help",
    "serve": "--host --port --workers --timeout --token --token-file --no-batching --max-body --max-waiting "
    f"--daemon --browse --allowed-host {_MODEL} --json --verbose --help",
    "server": "--store --host --port --token --token-file --allowed-host --json --verbose --help",
    "ui": "--mlflow --store --host --port --workers --no-browser --offline --cache --json --verbose --help",
    "mlflow": f"install list path uninstall --as-of --offline --store {_INDEXES} --python --cache --json --verbose "
    "--help",
    "status": "--no-code --python --cache --json --verbose --help",
    "diff": "--python --cache --json --verbose --help",
    "runs": "list search show compare delete restore copy sync reap --from --to --filter --experiment --order-by "
    "--limit --deleted --all --older-than --dry-run --store --json --verbose --help",
    "experiments": "list create rename delete restore tag --filter --deleted --all --artifact-location --store --json "
    "--verbose --help",
    "artifacts": "list log download --to --store --json --verbose --help",
    "cache": "list info prune clear --older-than --max-size --unreferenced --kept --dry-run --yes --cache --json "
    "--verbose --help",
    "doctor": f"--deep --offline {_INDEXES} --cache --json --verbose --help",
    "completion": "bash zsh fish",
}
_EXAMPLES = """\
  eval "$(repro completion bash)"          in ~/.bashrc
  repro completion fish | source           in ~/.config/fish/config.fish
"""


def _format_bash() -> str:
    cases = "\n".join(f'    {name}) words="{options}" ;;' for name, options in _OPTIONS.items())
    return f"""_repro() {{
  local words current="${{COMP_WORDS[COMP_CWORD]}}"
  case "${{COMP_WORDS[1]}}" in
{cases}
    *) words="{" ".join(COMMANDS)}" ;;
  esac
  [ "$COMP_CWORD" -eq 1 ] && words="{" ".join(COMMANDS)}"
  COMPREPLY=($(compgen -W "$words" -- "$current") $(compgen -f -- "$current"))
}}
complete -o filenames -F _repro repro"""


def _format_fish() -> str:
    lines = ["complete -c repro -f -n __fish_use_subcommand -a '" + " ".join(COMMANDS) + "'"]
    for name, options in _OPTIONS.items():
        for option in options.split():
            what = f"-l {option[2:]}" if option.startswith("--") else f"-a {option}"
            lines.append(f"complete -c repro -n '__fish_seen_subcommand_from {name}' {what}")
    return "\n".join(lines)


def run(arguments: list[str]) -> int:
    """Print a completion script."""
    parser = make_parser("completion", "Print the completion script for a shell.", _EXAMPLES)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    shell = parser.parse_args(arguments).shell
    if shell == "fish":
        console.say(_format_fish())
    else:
        console.say(("autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else "") + _format_bash())
    return ExitCode.DONE
