"""Which indexes are asked: options, variables, and the files of pip and uv, compared with the tools where cheap."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import get_uv

from repro.errors import ReproError, UsageError
from repro.snapshots.index_configuration import find_indexes
from repro.snapshots.indexes import Indexes


class Home:
    """A home directory with its configuration, and a project."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "project"
        self.project.mkdir()
        self.environ = {
            "HOME": str(root / "home"),
            "XDG_CONFIG_HOME": str(root / "xdg"),
            "XDG_CONFIG_DIRS": f"{root / 'etc1'}:{root / 'etc2'}",
            "PATH": os.environ["PATH"],
        }

    def write(self, place: str, text: str) -> Path:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def find(self, given: Indexes | None = None, prefix: str | None = None, **variables: str) -> Indexes:
        return find_indexes(self.environ | variables, project=self.project, prefix=prefix, given=given)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def conf(url: str, section: str = "global") -> str:
    return f"[{section}]\nindex-url = {url}\n"


def test_options_come_before_variables_before_pips_files_before_uvs(home: Home) -> None:
    home.write("project/uv.toml", 'index-url = "https://uv.example.org/simple"')
    assert home.find().default_url == "https://uv.example.org/simple"
    home.write("xdg/pip/pip.conf", conf("https://file.example.org/simple"))
    assert home.find().default_url == "https://file.example.org/simple"
    variables = {"PIP_INDEX_URL": "https://variable.example.org/simple"}
    assert home.find(**variables).default_url == "https://variable.example.org/simple"
    variables["UV_INDEX_URL"] = "https://older.example.org/simple"
    assert home.find(**variables).default_url == "https://older.example.org/simple"
    variables["UV_DEFAULT_INDEX"] = "https://newer.example.org/simple"
    assert home.find(**variables).default_url == "https://newer.example.org/simple"
    given = Indexes(default_url="https://option.example.org/simple")
    assert home.find(given, **variables).default_url == "https://option.example.org/simple"


def test_all_further_places_are_asked_the_strongest_first_and_each_once(home: Home) -> None:
    urls = {name: f"https://{name}.example.org/simple" for name in "abcdefg"}
    home.write("xdg/pip/pip.conf", f"[global]\nextra-index-url =\n    {urls['d']}\n    {urls['a']}\n")
    home.write("project/uv.toml", f'extra-index-url = ["{urls["e"]}"]\n[[index]]\nurl = "{urls["f"]}"\n')
    found = home.find(
        Indexes(extra_urls=(urls["a"],)),
        UV_INDEX=f"{urls['b']} name={urls['g']}",
        PIP_EXTRA_INDEX_URL=f"{urls['c']}\n{urls['b']}",
    )
    assert found.extra_urls == tuple(urls[name] for name in "abgcdfe")


PIP_CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "legacy is weaker than user": ({"home/.pip/pip.conf": "l", "xdg/pip/pip.conf": "u"}, {}),
    "variable": ({"xdg/pip/pip.conf": "u"}, {"PIP_INDEX_URL": "https://variable.example.org/simple"}),
    "legacy": ({"home/.pip/pip.conf": "l", "etc1/pip/pip.conf": "g"}, {}),
    "global": ({"etc1/pip/pip.conf": "g1", "etc2/pip/pip.conf": "g2"}, {}),
    "venv": ({"xdg/pip/pip.conf": "u", "venv/pip.conf": "v"}, {}),
    "named": ({"xdg/pip/pip.conf": "u", "venv/pip.conf": "v", "named.conf": "n"}, {"PIP_CONFIG_FILE": "named.conf"}),
    "named without a url hides the user's": (
        {"xdg/pip/pip.conf": "u", "etc1/pip/pip.conf": "g", "named.conf": ""},
        {"PIP_CONFIG_FILE": "named.conf"},
    ),
    "named and not there": ({"xdg/pip/pip.conf": "u"}, {"PIP_CONFIG_FILE": "gone.conf"}),
    "none": ({"xdg/pip/pip.conf": "u", "venv/pip.conf": "v"}, {"PIP_CONFIG_FILE": os.devnull}),
}


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment whose pip is ours."""
    path = tmp_path_factory.mktemp("venv") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(path)], check=True)
    return path


ASK_PIP = """
from pip._internal.commands import create_command
print(create_command("install").parser.parse_args([])[0].index_url)
"""


def ask_pip(home: Home, venv: Path, environ: dict[str, str]) -> str | None:
    """Return the index URL that pip itself would ask (`pip config list` shows those of all files)."""
    site = next(path for path in sys.path if os.path.isdir(os.path.join(path, "pip")))
    return subprocess.run(
        [venv / "bin" / "python", "-c", ASK_PIP],
        env={**environ, "PYTHONPATH": site}, cwd=home.root, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


@pytest.mark.parametrize("case", PIP_CASES)
def test_pips_files_count_as_pip_itself_says(case: str, home: Home, venv: Path) -> None:
    files, variables = PIP_CASES[case]
    for place, word in files.items():
        path = venv / "pip.conf" if place.startswith("venv/") else home.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(conf(f"https://{word}.example.org/simple") if word else "[global]\n")
    environ = home.environ | {
        name: str(home.root / value) if value.endswith(".conf") else value for name, value in variables.items()
    }
    try:
        found = find_indexes(environ, project=home.project, prefix=str(venv))
        assert next(iter(found.urls)) == ask_pip(home, venv, environ)
    finally:
        (venv / "pip.conf").unlink(missing_ok=True)


def test_the_section_of_install_is_stronger_than_global_whatever_the_file(home: Home) -> None:
    home.write("home/.pip/pip.conf", conf("https://install.example.org/simple", "install"))
    home.write("xdg/pip/pip.conf", conf("https://global.example.org/simple"))
    assert home.find().default_url == "https://install.example.org/simple"


def test_everything_that_pips_files_say_of_reaching_an_index_is_taken(home: Home) -> None:
    cert = home.write("ca.pem", "x")
    home.write(
        "xdg/pip/pip.conf",
        f"[global]\nCERT = {cert}\nclient_cert = c.pem\n--trusted-host = a b:8080\nproxy = http://u:p%%w@proxy:1\n"
        f"no-index = yes\ntimeout = 99\nretries = 7\nkeyring-provider = import\nfind-links = {home.root}\n",
    )
    found = home.find()
    assert (found.cert, found.client_cert, found.trusted_hosts) == (str(cert), "c.pem", ("a", "b:8080"))
    assert (found.proxy, found.no_index, found.timeout_s, found.retries) == ("http://u:p%%w@proxy:1", True, 99.0, 7)
    assert (found.keyring_provider, found.find_links, found.urls) == ("import", (str(home.root),), ())
    stronger = home.find(PIP_NO_INDEX="0", UV_HTTP_TIMEOUT="3", PIP_RETRIES="0", PIP_PROXY="http://other:1")
    assert (stronger.no_index, stronger.timeout_s, stronger.retries) == (False, 3.0, 0)
    assert stronger.proxy == "http://other:1"


@pytest.mark.parametrize("text", ["timeout = soon", "timeout = -1", "timeout = 1e400", "timeout = nan", "timeout = 0"])
def test_a_number_that_is_none_says_nothing(text: str, home: Home) -> None:
    home.write("xdg/pip/pip.conf", f"[global]\n{text}\nretries = many\n")
    assert (home.find().timeout_s, home.find().retries) == (None, None)


def test_certificates_of_other_tools_count_last_and_may_be_gone(home: Home) -> None:
    cert, other = (str(home.write(name, "x")) for name in ("ca.pem", "other.pem"))
    assert home.find(PIP_CERT=cert, SSL_CERT_FILE=other).cert == cert
    home.environ["PIP_CONFIG_FILE"] = os.devnull
    assert home.find(SSL_CERT_FILE=other).cert == other
    assert home.find(REQUESTS_CA_BUNDLE=other).cert == other
    assert home.find(SSL_CERT_FILE="/gone.pem", CURL_CA_BUNDLE=other).cert == other
    del home.environ["PIP_CONFIG_FILE"]
    home.write("xdg/pip/pip.conf", f"[global]\ncert = {cert}\n")
    assert home.find(SSL_CERT_FILE=other).cert == cert


def test_the_nearest_uv_configuration_above_the_project_counts_and_an_empty_pyproject_does_not(home: Home) -> None:
    home.write("uv.toml", 'index-url = "https://above.example.org/simple"')
    home.write("project/pyproject.toml", '[project]\nname = "x"\n')
    assert home.find().default_url == "https://above.example.org/simple"
    home.write("project/pyproject.toml", '[tool.uv]\nindex-url = "https://own.example.org/simple"')
    assert home.find().default_url == "https://own.example.org/simple"
    home.write("project/uv.toml", 'index-url = "https://toml.example.org/simple"')
    assert home.find().default_url == "https://toml.example.org/simple"


def test_uvs_user_and_system_files_come_after_the_projects(home: Home) -> None:
    home.write("etc2/uv/uv.toml", 'extra-index-url = ["https://second.example.org/simple"]')
    assert home.find().extra_urls == ("https://second.example.org/simple",)
    home.write("etc1/uv/uv.toml", 'extra-index-url = ["https://first.example.org/simple"]')
    home.write("xdg/uv/uv.toml", 'extra-index-url = ["https://user.example.org/simple"]')
    home.write("project/uv.toml", 'extra-index-url = ["https://own.example.org/simple"]')
    assert home.find().extra_urls == tuple(f"https://{each}.example.org/simple" for each in ("own", "user", "first"))
    assert home.find(UV_NO_CONFIG="1").extra_urls == ()
    named = str(home.write("named.toml", 'extra-index-url = ["https://named.example.org/simple"]'))
    for variables in ({}, {"UV_NO_CONFIG": "1"}):
        assert home.find(UV_CONFIG_FILE=named, **variables).extra_urls == ("https://named.example.org/simple",)


def test_uvs_index_tables_say_which_is_the_default_and_which_is_for_some_alone(home: Home) -> None:
    home.write(
        "project/pyproject.toml",
        """
        [tool.uv]
        find-links = ["https://links.example.org/"]
        allow-insecure-host = ["insecure.example.org"]
        [tool.uv.pip]
        extra-index-url = ["https://pip.example.org/simple"]
        no-index = false
        [[tool.uv.index]]
        name = "first"
        url = "https://first.example.org/simple"
        [[tool.uv.index]]
        name = "pytorch-cpu"
        url = "https://torch.example.org/whl/cpu"
        explicit = true
        [[tool.uv.index]]
        url = "https://default.example.org/simple"
        default = true
        [tool.uv.sources]
        Torch = { index = "pytorch-cpu" }
        torch_vision = [{ index = "pytorch-cpu", marker = "sys_platform == 'linux'" }, { git = "x" }]
        other = { index = "first" }
        """,
    )
    found = home.find(UV_INDEX_PYTORCH_CPU_USERNAME="u", UV_INDEX_FIRST_PASSWORD="p@/w")
    torch = "https://u:@torch.example.org/whl/cpu"
    assert found == Indexes(
        default_url="https://default.example.org/simple",
        extra_urls=("https://pip.example.org/simple", "https://:p%40%2Fw@first.example.org/simple"),
        chosen_urls=((torch, ("torch", "torch-vision")),),
        find_links=("https://links.example.org/",),
        trusted_hosts=("insecure.example.org",),
        no_index=False,
        cert=found.cert,
    )
    assert torch not in found.find_urls("alpha")
    assert found.find_urls("torch")[-1] == torch
    assert found.public_urls[-1] == "https://torch.example.org/whl/cpu"


def test_a_login_in_variables_goes_to_the_index_of_that_name(home: Home) -> None:
    found = home.find(
        UV_DEFAULT_INDEX="my.index=https://a.example.org/simple",
        UV_INDEX="two=https://b.example.org/simple three=https://own:login@c.example.org/simple",
        UV_INDEX_MY_INDEX_USERNAME="me@e.org",
        UV_INDEX_MY_INDEX_PASSWORD="p:/@%",
        UV_INDEX_TWO_PASSWORD="t",
        UV_INDEX_THREE_USERNAME="x",
    )
    assert found.default_url == "https://me%40e.org:p%3A%2F%40%25@a.example.org/simple"
    assert found.extra_urls == ("https://:t@b.example.org/simple", "https://own:login@c.example.org/simple")


def test_relative_places_count_from_where_the_tool_that_reads_them_says(home: Home, monkeypatch: object) -> None:
    for place in ("project/links", "xdg/uv/links", "here/links", "here/two words", "project/index"):
        (home.root / place).mkdir(parents=True)
    monkeypatch.chdir(home.root / "here")  # type: ignore[attr-defined]
    home.write("project/uv.toml", 'find-links = ["links", "gone"]\n[[index]]\nurl = "./index"\n')
    home.write("xdg/uv/uv.toml", 'find-links = ["./links"]')
    home.write("xdg/pip/pip.conf", "[global]\nfind-links = links gone\n")
    found = home.find(UV_FIND_LINKS="two words,gone")
    assert found.find_links == (
        "two words", "links", str(home.project / "links"), str(home.root / "xdg" / "uv" / "links")
    )  # fmt: skip
    assert found.extra_urls == (str(home.project / "index"),)
    assert found.public_urls == ()


def test_uv_itself_counts_relative_places_from_its_files(home: Home) -> None:
    (home.project / "links").mkdir()
    home.write("project/uv.toml", 'find-links = ["links"]')
    shown = subprocess.run(
        [get_uv(), "pip", "compile", "--show-settings", "-"],
        env=home.environ, cwd=home.project, input="", capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    assert f'path: "{home.find().find_links[0]}"' in shown


@pytest.mark.parametrize(
    "text", ["index-url = x\n", "[global\n", "[global]\nx\n", "[a]\nx=1\nx=2\n", "\ufeff[global]\nx=1"]
)
def test_a_malformed_file_of_pips_is_one_sentence_that_names_it_and_shows_nothing_of_it(text: str, home: Home) -> None:
    path = home.write("xdg/pip/pip.conf", text + "# s3cret\nindex-url = https://u:s3cret@h\n")
    with pytest.raises(ReproError) as caught:
        home.find()
    assert caught.value.message.startswith(f"pip's configuration `{path}` cannot be read (")
    assert "s3cret" not in str(caught.value)
    assert "\n" not in caught.value.message


def test_a_file_of_pips_that_is_no_text_is_named(home: Home) -> None:
    path = home.write("xdg/pip/pip.conf", "")
    path.write_bytes(b"[global]\n\xff\xfe = 1\n")
    with pytest.raises(ReproError, match=r"pip's configuration `.*` cannot be read \(UnicodeDecode\)"):
        home.find()


@pytest.mark.parametrize("place", ["project/uv.toml", "project/pyproject.toml", "xdg/uv/uv.toml", "etc1/uv/uv.toml"])
@pytest.mark.parametrize("text", ["[", "index-url = ", "a = 1\na = 2", "x = " + "[" * 5000])
def test_a_malformed_file_of_uvs_is_one_sentence_that_names_it(text: str, place: str, home: Home) -> None:
    path = home.write(place, text)
    with pytest.raises(ReproError, match=f"`{path}` is not valid TOML: "):
        home.find()


@pytest.mark.parametrize(
    "text",
    [
        "index = 3", "index = [1]", 'index = [{name = "x"}]', "index-url = 3", 'extra-index-url = "x"', "pip = 3",
        "find-links = [1]", 'no-index = "yes"', "[tool]\nuv = 3", 'index = [{url = 3, name = 4}]', "sources = 3",
    ],
)  # fmt: skip
def test_values_of_the_wrong_type_say_nothing(text: str, home: Home) -> None:
    home.write("project/uv.toml", text)
    assert home.find() == Indexes(cert=home.find().cert)


WRONG_URLS = [
    "ftp://example.org/simple", "https://", "https://[::1/simple", "https://example.org:99999/simple",
    "https://user:pa/s3cret@example.org/simple", "https://user:12/s3cret@example.org/simple", "http://:80/simple",
    "https://user:s3cret#@example.org/simple", "https://user:s3cret?@example.org/simple", "git+https://example.org/x",
]  # fmt: skip


@pytest.mark.parametrize("url", WRONG_URLS)
@pytest.mark.parametrize("option", ["index-url", "extra-index-url", "find-links"])
def test_a_url_that_no_index_can_have_is_refused_without_showing_a_password(url: str, option: str, home: Home) -> None:
    home.write("xdg/pip/pip.conf", f"[global]\n{option} = {url}\n")
    with pytest.raises(UsageError) as caught:
        home.find()
    assert "is not the URL of an index" in caught.value.message
    assert "s3cret" not in str(caught.value)
    assert caught.value.hint is not None
    assert "%40" in caught.value.hint


def test_places_that_options_name_must_be_there_and_others_that_are_gone_do_not_count(home: Home) -> None:
    for given in (
        Indexes(default_url="/gone"),
        Indexes(extra_urls=("file:///gone",)),
        Indexes(find_links=("gone",)),
        Indexes(default_url="user:s3cret@example.org/simple"),
    ):
        with pytest.raises(UsageError, match="there is no `") as caught:
            home.find(given)
        assert "s3cret" not in str(caught.value)
    found = home.find(PIP_EXTRA_INDEX_URL="file:///gone", PIP_FIND_LINKS="/gone")
    assert (found.extra_urls, found.find_links) == ((), ())
    with pytest.raises(UsageError, match=r"there is no `example\.org/simple`"):
        home.find(PIP_INDEX_URL="example.org/simple")
