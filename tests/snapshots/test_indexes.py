"""The indexes as a value, and that both installers look where a snapshot has looked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment, get_uv, make_wheel
from servers import CERT, Answer, Request, serve, serve_directory

from repro.snapshots.access import format_basic
from repro.snapshots.indexes import Indexes, find_path, make_public


def test_a_lock_names_no_login_no_query_and_no_path() -> None:
    indexes = Indexes(
        default_url="https://u:p@a.example.org/simple?t=1",
        extra_urls=("file:///srv/index", "/srv/index", "~/index", "./index", "http://b.example.org/s/#x"),
        chosen_urls=(("https://t@c.example.org/whl", ("torch",)),),
    )
    assert indexes.public_urls == (
        "https://a.example.org/simple",
        "http://b.example.org/s/",
        "https://c.example.org/whl",
    )
    assert Indexes(default_url="https://a.example.org/simple", no_index=True).public_urls == ()


def test_equal_places_have_an_equal_id_whoever_asks() -> None:
    one = Indexes(default_url="https://a:b@example.org/simple", find_links=("/x",))
    assert one.id == Indexes(default_url="https://c:d@example.org/simple?t=1", find_links=("/x",)).id
    others = [
        Indexes(),
        Indexes(find_links=("/x",)),
        Indexes(extra_urls=("https://example.org/simple",)),
        Indexes(default_url="https://example.org/simple", find_links=("/x",), no_index=True),
        Indexes(default_url="https://example.org/simple", chosen_urls=(("https://c.example.org/", ("a",)),)),
    ]
    assert len({each.id for each in (one, *others)}) == 6


@pytest.mark.parametrize(
    ("place", "path", "public"),
    [
        ("https://example.org/x", None, "https://example.org/x"),
        ("file:///a%20b/c", Path("/a b/c"), None),
        ("/a%20b", Path("/a%20b"), None),
        ("a/b", Path("a/b"), None),
    ],
)
def test_a_place_is_on_this_machine_or_elsewhere(place: str, path: Path | None, public: str | None) -> None:
    assert (find_path(place), make_public(place)) == (path, public)


def test_installers_are_told_everything_and_what_was_said_before_counts_no_more() -> None:
    environ = {"PIP_INDEX_URL": "old", "UV_INDEX_URL": "old", "UV_EXTRA_INDEX_URL": "old", "PIP_NO_INDEX": "1",
               "REQUESTS_CA_BUNDLE": "old", "UV_FIND_LINKS": "old", "PIP_CONFIG_FILE": "/x", "KEPT": "1"}  # fmt: skip
    Indexes(
        default_url="https://u:p@example.org/simple",
        extra_urls=("https://b.example.org/simple",),
        chosen_urls=(("https://c.example.org/simple", ("x",)),),
        find_links=("/a b", "/c,d", "https://example.org/l"),
        cert="/ca.pem",
        client_cert="/me.pem",
        trusted_hosts=("h", "i:1"),
        proxy="http://p:1",
        timeout_s=7.0,
        retries=0,
        keyring_provider="import",
    ).write_to(environ, more_urls=("https://example.org/simple/", "https://d.example.org/simple"))
    extra = "https://b.example.org/simple https://c.example.org/simple https://d.example.org/simple"
    proxies = dict.fromkeys(("PIP_PROXY", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://p:1")
    assert environ == {
        "KEPT": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "https://u:p@example.org/simple",
        "UV_DEFAULT_INDEX": "https://u:p@example.org/simple", "PIP_EXTRA_INDEX_URL": extra, "UV_INDEX": extra,
        "PIP_FIND_LINKS": "file:///a%20b file:///c%2Cd https://example.org/l",
        "UV_FIND_LINKS": "file:///a%20b,file:///c%2Cd,https://example.org/l", "PIP_CERT": "/ca.pem",
        "SSL_CERT_FILE": "/ca.pem", "REQUESTS_CA_BUNDLE": "/ca.pem",
        "CURL_CA_BUNDLE": "/ca.pem", "PIP_CLIENT_CERT": "/me.pem", "SSL_CLIENT_CERT": "/me.pem",
        "PIP_TRUSTED_HOST": "h i:1", "UV_INSECURE_HOST": "h i:1", "PIP_TIMEOUT": "7", "UV_HTTP_TIMEOUT": "7",
        "PIP_RETRIES": "1", "UV_HTTP_RETRIES": "0", "PIP_KEYRING_PROVIDER": "import", **proxies,
    }  # fmt: skip


def test_where_nothing_is_named_nothing_is_told() -> None:
    environ: dict[str, str] = {}
    Indexes().write_to(environ)
    assert environ == {"PIP_CONFIG_FILE": os.devnull}
    Indexes(no_index=True).write_to(environ, more_urls=("https://example.org/simple",))
    assert environ == {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "UV_NO_INDEX": "1"}


def snapshot_and_restore(cli: Cli, environment: TestEnvironment, engine: str) -> str:
    """Take a lock and restore it with an empty cache, both by what is configured, and return the lock."""
    cli("snapshot", ".", "--python", environment.python)
    done = Cli(cli.cache.parent / f"cache-{engine}")(
        "restore", ".", "--engine", engine, "--", "python", "-c", "import alpha"
    )
    assert done.returncode == 0
    return Path("requirements-lock.txt").read_text()


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_an_index_behind_tls_and_a_login_in_pips_configuration_serves_snapshot_and_restore(
    engine: str,
    environment: TestEnvironment,
    index: LocalIndex,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    answer = serve_directory(index.root)
    wanted = format_basic("me@e.org", "s3cret/@:%")

    def script(request: Request) -> Answer:
        return answer(request) if request.headers.get("authorization") == wanted else Answer(status=401)

    with serve(script, tls=True) as server:
        url = server.url_for("me%40e.org:s3cret%2F%40%3A%25")
        named = tmp_path / "pip.conf"
        named.write_text(f"[global]\nindex-url = {url}\ncert = {CERT}\n")
        monkeypatch.delenv("PIP_INDEX_URL")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(named))
        lock = snapshot_and_restore(cli, environment, engine)
    assert f"https://{server.host}/simple/" in lock
    assert "s3cret" not in lock
    assert lock.count("--hash=") == 2


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_relative_links_and_a_chosen_index_of_uvs_configuration_serve_snapshot_and_restore(
    engine: str, environment: TestEnvironment, index: LocalIndex, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = Path("my links")
    links.mkdir()
    make_wheel(links, "gamma-ray", "0.9+local")
    environment.install(f"gamma-ray @ {(links / 'gamma_ray-0.9+local-py3-none-any.whl').absolute().as_uri()}")
    (environment.site / "gamma_ray-0.9+local.dist-info" / "direct_url.json").unlink()
    Path("pyproject.toml").write_text(
        f"""
        [tool.uv]
        find-links = ["my links"]
        [[tool.uv.index]]
        name = "chosen"
        url = "{index.url}"
        explicit = true
        [tool.uv.sources]
        alpha = {{ index = "chosen" }}
        beta = [{{ index = "chosen" }}]
        """
    )
    with serve(serve_directory(index.root)) as first:
        (index.root / "elsewhere").mkdir()
        monkeypatch.setenv("PIP_INDEX_URL", first.url.replace("/simple/", "/elsewhere/"))
        lock = snapshot_and_restore(cli, environment, engine)
    assert index.url.rstrip("/") in lock
    assert str(Path.cwd()) not in lock
    assert "gamma-ray==0.9+local" in lock


def test_the_tools_that_may_be_asked_for_hashes_look_there_too(
    environment: TestEnvironment, index: LocalIndex, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = tmp_path / "pip.conf"
    named.write_text(f"[global]\nindex-url = {index.url}\n")
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(named))
    assert get_uv()
    for engine in ("uv", "pip", "pip-tools"):
        cli("snapshot", ".", "--python", environment.python, "--engine", engine, "--refresh")
        assert Path("requirements-lock.txt").read_text().count("--hash=") == 2
