"""Asking indexes: real servers on loopback, good, slow, broken, hostile, behind TLS, logins, proxies and redirects."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import make_wheel
from servers import CERT, JSON, Answer, Proxy, Request, ScriptedServer, serve, serve_directory

from repro.errors import UsageError
from repro.formats.simple_index import IndexFile
from repro.snapshots.access import format_basic
from repro.snapshots.index_client import CONCURRENCY, IndexClient, Listing
from repro.snapshots.indexes import Indexes
from repro.snapshots.pins import FetchError, IndexUnreachableError, Pin

ALPHA = Pin(name="alpha", version="1.0")
WHEEL = "alpha-1.0-py3-none-any.whl"
PAGE = f'<a href="{WHEEL}">x</a>'.encode()
FOUND = Answer(body=PAGE)


def ask(*pins: Pin, environ: dict[str, str] | None = None, retries: int = 0, **options: object) -> Listing:
    indexes = Indexes(retries=retries, timeout_s=5.0, **options)  # type: ignore[arg-type]
    with IndexClient(indexes, environ=environ or {}) as client:
        return client.list_files(pins or (ALPHA,))


def name_files(listing: Listing, name: str = "alpha") -> list[str]:
    return [each.filename for each in listing.files[name]]


def always(answer: Answer) -> Callable[[Request], Answer]:
    return lambda request: answer


def answer_in_turn(*answers: Answer) -> Callable[[Request], Answer]:
    """Answer each request with the next, the last one for ever."""
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def test_a_project_is_asked_for_by_its_canonical_name_with_what_we_can_read() -> None:
    with serve(always(FOUND)) as server:
        assert name_files(ask(default_url=server.url)) == [WHEEL]
        assert name_files(ask(default_url=server.url.rstrip("/") + "?token=1")) == [WHEEL]
        assert [each.path for each in server.requests] == ["/simple/alpha/", "/simple/alpha/?token=1"]
        headers = server.requests[0].headers
    assert headers["accept"].startswith(JSON)
    assert headers["user-agent"].startswith("repro/")
    assert "authorization" not in headers


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "application/vnd.pypi.simple.v1+html"])
def test_each_kind_of_page_is_read_by_its_type(kind: str) -> None:
    with serve(always(Answer(body=PAGE, kind=kind))) as server:
        assert name_files(ask(default_url=server.url)) == [WHEEL]


def test_a_json_page_is_read_compressed_or_not() -> None:
    page = json.dumps({"files": [{"filename": WHEEL, "url": WHEEL}]}).encode()
    for body, headers in ((page, {}), (gzip.compress(page), {"Content-Encoding": "gzip"})):
        with serve(always(Answer(body=body, kind=JSON, headers=headers))) as server:
            assert name_files(ask(default_url=server.url)) == [WHEEL]


def test_a_page_of_another_project_gives_none_of_its_files() -> None:
    page = b'<a href="beta-1.0-py3-none-any.whl">x</a><a href="Alpha-1.0.tar.gz">x</a>'
    with serve(always(Answer(body=page))) as server:
        listing = ask(ALPHA, Pin(name="beta", version="1.0"), default_url=server.url)
    assert (name_files(listing), name_files(listing, "beta")) == (["Alpha-1.0.tar.gz"], ["beta-1.0-py3-none-any.whl"])


GARBAGE = [
    Answer(body=PAGE, kind="application/json"),
    Answer(body=PAGE, kind=""),
    Answer(body=PAGE, kind="application/octet-stream"),
    Answer(body=PAGE, kind=JSON),
    Answer(body=b"\x00" * 1000, kind=JSON),
    Answer(body=b"[" * 100_000, kind=JSON),
    Answer(body=b'{"meta": {"api-version": "2.0"}, "files": []}', kind=JSON),
    Answer(body=b'<meta name="pypi:repository-version" content="2.0">'),
    Answer(body=PAGE, headers={"Content-Encoding": "gzip"}),
    Answer(body=gzip.compress(PAGE)[:-9], headers={"Content-Encoding": "gzip"}),
    Answer(body=PAGE, headers={"Content-Encoding": "br"}),
    Answer(body=b"<![x["),
    Answer(status=400),
    Answer(status=418),
    Answer(status=302),
    Answer(status=302, headers={"Location": "file:///etc/passwd"}),
    Answer(status=302, headers={"Location": "http://[::1/"}),
    Answer(status=302, headers={"Location": "/simple/alpha/"}),
    Answer(status=302, headers={"Location": "gopher://127.0.0.1/"}),
]


@pytest.mark.parametrize("answer", GARBAGE)
def test_what_is_no_page_is_one_sentence_with_its_url_and_never_no_files(answer: Answer) -> None:
    with serve(always(answer)) as server, pytest.raises(FetchError) as caught:
        ask(default_url=server.url_for("user:s3cret"))
    assert f"`http://{server.host}/simple/alpha/`" in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    assert "s3cret" not in str(caught.value)


def test_a_page_that_expands_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repro.snapshots.index_client.LARGEST_BYTES", 1 << 20)
    monkeypatch.setattr("repro.snapshots.door.LARGEST_BYTES", 1 << 20)
    for answer in (
        Answer(body=gzip.compress(b" " * (1 << 24)), headers={"Content-Encoding": "gzip"}),
        Answer(body=b" " * ((1 << 20) + 1)),
    ):
        with serve(always(answer)) as server, pytest.raises(FetchError, match="more than 1 MiB"):
            ask(default_url=server.url)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_fails_for_the_moment_is_asked_for_again(status: int) -> None:
    with serve(answer_in_turn(Answer(status=status), Answer(status=status), FOUND)) as server:
        assert name_files(ask(default_url=server.url, retries=2)) == [WHEEL]
        assert len(server.requests) == 3


@pytest.mark.parametrize("broken", [Answer(reset=True), Answer(body=PAGE, length=10_000)])
def test_a_connection_that_breaks_is_opened_again(broken: Answer) -> None:
    with serve(answer_in_turn(broken, FOUND)) as server:
        assert name_files(ask(default_url=server.url, retries=1)) == [WHEEL]


@pytest.mark.parametrize("answer", [Answer(status=503), Answer(reset=True), Answer(body=PAGE, length=10_000)])
def test_what_goes_on_failing_cannot_be_reached(answer: Answer) -> None:
    with serve(always(answer)) as server, pytest.raises(IndexUnreachableError, match="cannot be reached"):
        ask(default_url=server.url, retries=1)
    assert len(server.requests) == 2


def test_a_server_says_how_long_to_wait_within_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout=None: waits.append(timeout) or False)
    answers = [Answer(status=429, headers={"Retry-After": value}) for value in ("3", "86400", "soon", "-1", "")]
    server = ScriptedServer(answer_in_turn(*answers, FOUND))
    indexes = Indexes(default_url=server.url, retries=5, timeout_s=5.0)
    with IndexClient(indexes, environ={}) as client:
        page = client._read_page(f"{server.url}alpha/", place=server.url)
    assert page is not None
    assert [each for each in waits if each is not None and each >= 0.25] == [3.0, 20.0, 1.0, 2.0, 4.0]
    monkeypatch.undo()
    server.close()


def test_what_no_waiting_can_mend_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(IndexUnreachableError, match="Connection refused"):
            ask(default_url=f"http://127.0.0.1:{port}/simple", retries=10)
        with pytest.raises(IndexUnreachableError, match="cannot be reached"):
            ask(default_url="http://no-such-host.invalid/simple", retries=10)
    assert time.monotonic() - started < 60  # ten retries with backoff take minutes


def test_an_index_that_never_answers_is_given_up_and_asked_no_more() -> None:
    with serve(always(Answer(hang=True))) as server:
        indexes = Indexes(default_url=server.url, retries=0, timeout_s=0.3)
        pins = [Pin(name=f"p{number}", version="1") for number in range(30)]
        with IndexClient(indexes, environ={}) as client, pytest.raises(IndexUnreachableError, match="timed out"):
            client.list_files(pins)
        assert len(server.requests) <= CONCURRENCY


def test_at_most_four_requests_are_open_at_a_time_over_four_connections() -> None:
    with serve(always(Answer(body=PAGE, delay_s=0.02))) as server:
        ask(*(Pin(name=f"p{number}", version="1") for number in range(40)), default_url=server.url)
        assert server.most_at_once == CONCURRENCY == 4
        assert server.connections == CONCURRENCY
        assert len(server.requests) == 40


def test_a_kept_connection_that_the_server_has_closed_is_opened_again() -> None:
    with serve(answer_in_turn(FOUND, Answer(reset=True), FOUND)) as server:
        indexes = Indexes(default_url=server.url, retries=0)
        with IndexClient(indexes, environ={}) as client:
            assert name_files(client.list_files([ALPHA])) == [WHEEL]
            assert name_files(client.list_files([ALPHA])) == [WHEEL]
        assert server.connections == 2


def test_one_index_that_is_down_is_left_out_where_the_first_has_all() -> None:
    with serve(always(FOUND)) as good, serve(always(Answer(status=500))) as bad:
        listing = ask(default_url=good.url, extra_urls=(bad.url,))
        assert name_files(listing) == [WHEEL]
        assert listing.failures == (f"`{bad.url}alpha/` cannot be reached (HTTP 500)",)
        listing = ask(default_url=bad.url, extra_urls=(good.url,))
        assert name_files(listing) == [WHEEL]
        assert len(listing.failures) == 1


def test_a_first_index_that_is_down_does_not_mean_that_it_lacks_something() -> None:
    with serve(always(Answer(status=404))) as good, serve(always(Answer(status=500))) as bad:
        with pytest.raises(IndexUnreachableError):
            ask(default_url=bad.url, extra_urls=(good.url,))
        assert ask(default_url=good.url, extra_urls=(bad.url,)).failures


def test_an_index_that_knows_nothing_is_noted() -> None:
    pins = [Pin(name=name, version="1.0") for name in ("alpha", "beta", "gamma")]
    with serve(always(Answer(status=404))) as server:
        assert ask(*pins, default_url=server.url).notes == (
            f"`{server.url}` has none of the 3 distributions: is it the URL of an index?",
        )
        assert ask(*pins[:2], default_url=server.url).notes == ()


def test_an_index_that_is_chosen_for_some_is_asked_for_these_alone() -> None:
    pins = [ALPHA, Pin(name="beta", version="1.0")]
    with serve(always(Answer(status=404))) as first, serve(always(FOUND)) as chosen:
        listing = ask(*pins, default_url=first.url, chosen_urls=((chosen.url, ("alpha",)),))
        assert [each.path for each in chosen.requests] == ["/simple/alpha/"]
    assert name_files(listing) == [WHEEL]


@pytest.mark.parametrize("status", [401, 403])
def test_an_index_that_does_not_let_us_in_is_asked_no_more_and_says_what_to_give(status: int) -> None:
    pins = [Pin(name=f"p{number}", version="1") for number in range(20)]
    with serve(always(Answer(status=status))) as server, pytest.raises(FetchError) as caught:
        ask(*pins, default_url=server.url, retries=3)
    assert f"does not let us in (HTTP {status})" in caught.value.message
    assert caught.value.hint is not None
    assert "netrc" in caught.value.hint
    assert len(server.requests) <= CONCURRENCY


def demand(login: str, answer: Answer = FOUND) -> Callable[[Request], Answer]:
    user, _, password = login.partition(":")
    wanted = format_basic(user, password)
    return lambda request: answer if request.headers.get("authorization") == wanted else Answer(status=401)


@pytest.mark.parametrize(
    ("quoted", "login"),
    [
        ("user:pass", "user:pass"),
        ("token", "token:"),
        ("u%40e.org:p%2F%3A%40%23%3F%25", "u@e.org:p/:@#?%"),
        ("u:p@ss", "u:p@ss"),
        ("%C3%BC:%E2%82%AC", "ü:€"),
        (":p", ":p"),
    ],
)
def test_the_login_of_an_index_url_is_shown_to_it(quoted: str, login: str) -> None:
    with serve(demand(login)) as server:
        assert name_files(ask(default_url=server.url_for(quoted))) == [WHEEL]
        assert all(quoted not in each.path for each in server.requests)


def test_a_netrc_login_is_shown_to_its_host_and_an_index_urls_comes_before_it(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password from-netrc\n")
    for environ in ({"NETRC": str(netrc)}, {"HOME": str(tmp_path)}):
        netrc.rename(tmp_path / ".netrc") if "HOME" in environ else None
        with serve(demand("me:from-netrc")) as server:
            assert name_files(ask(default_url=server.url, environ=environ)) == [WHEEL]
        with serve(demand("you:url")) as server:
            assert name_files(ask(default_url=server.url_for("you:url"), environ=environ)) == [WHEEL]


@pytest.mark.parametrize("content", [b"machine", b"\xff\xfe", b"", b"machine example.org login a password b\n"])
def test_a_netrc_that_says_nothing_is_passed_over(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_bytes(content)
    with serve(always(FOUND)) as server:
        ask(default_url=server.url, environ={"NETRC": str(tmp_path / "netrc")})
        assert "authorization" not in server.requests[0].headers


def test_two_indexes_of_one_server_have_each_their_own_login() -> None:
    def script(request: Request) -> Answer:
        user = "one:1" if request.path.startswith("/one/") else "two:2"
        return demand(user)(request)

    with serve(script) as server:
        one, two = (
            f"http://{login}@{server.host}/{name}/simple" for login, name in (("one:1", "one"), ("two:2", "two"))
        )
        for pair in ((one, two), (two, one)):
            listing = ask(default_url=pair[0], extra_urls=pair[1:])
            assert [each.index for each in listing.files["alpha"]] == list(pair)


def test_a_page_cannot_say_who_we_are_elsewhere() -> None:
    with serve(always(Answer(status=404))) as victim:
        page = f'<a href="http://evil:login@{victim.host}/{WHEEL}">x</a>'.encode()
        with serve(always(Answer(body=page))) as server:
            indexes = Indexes(default_url=server.url, retries=0)
            with IndexClient(indexes, environ={}) as client:
                (file,) = client.list_files([ALPHA]).files["alpha"]
                with pytest.raises(FetchError, match="HTTP 404"):
                    client.open(file)
        assert "authorization" not in victim.requests[0].headers


def test_a_redirect_is_followed_and_no_login_goes_with_it_to_another_server() -> None:
    with serve(always(FOUND)) as other:
        moved = Answer(status=301, headers={"Location": f"{other.url}alpha/"})
        with serve(demand("user:s3cret", moved)) as server:
            listing = ask(default_url=server.url_for("user:s3cret"))
            assert name_files(listing) == [WHEEL]
            assert listing.files["alpha"][0].url == f"{other.url}alpha/{WHEEL}"
        assert "authorization" not in other.requests[0].headers
        assert "s3cret" not in other.requests[0].path


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_server_keeps_the_login(status: int) -> None:
    def script(request: Request) -> Answer:
        moved = Answer(status=status, headers={"Location": "/moved/here"})
        return demand("user:s3cret", FOUND if request.path == "/moved/here" else moved)(request)

    with serve(script) as server:
        assert name_files(ask(default_url=server.url_for("user:s3cret"))) == [WHEEL]


def test_a_login_for_https_is_not_shown_over_http() -> None:
    with serve(always(FOUND)) as plain:
        moved = Answer(status=302, headers={"Location": f"http://localhost:{plain.port}/simple/alpha/"})
        with serve(demand("user:s3cret", moved), tls=True) as server:
            url = f"https://user:s3cret@localhost:{server.port}/simple/"
            assert name_files(ask(default_url=url, cert=str(CERT))) == [WHEEL]
        assert "authorization" not in plain.requests[0].headers


def test_a_certificate_is_trusted_where_it_is_named_and_only_there(tmp_path: Path) -> None:
    with serve(always(FOUND), tls=True) as server:
        with pytest.raises(IndexUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(default_url=server.url, retries=5)
        assert name_files(ask(default_url=server.url, cert=str(CERT))) == [WHEEL]
        for host in ("127.0.0.1", server.host, f"https://{server.host}/"):
            assert name_files(ask(default_url=server.url, trusted_hosts=(host,))) == [WHEEL]
        with pytest.raises(IndexUnreachableError):
            ask(default_url=server.url, trusted_hosts=("127.0.0.1:1", "example.org"))
        for content in ("no certificate", None):
            cert = tmp_path / "cert.pem"
            cert.write_text(content) if content else cert.unlink()
            with pytest.raises(UsageError, match=r"the certificates in `.*cert.pem` cannot be read"):
                ask(default_url=server.url, cert=str(cert))


def test_a_client_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with serve(always(FOUND), tls=True) as server, pytest.raises(UsageError, match=r"`.*/mine.pem` cannot be read"):
        ask(default_url=server.url, cert=str(CERT), client_cert=str(tmp_path / "mine.pem"))


@pytest.fixture
def proxy() -> object:
    made = Proxy(login=format_basic("pu", "p@w"))
    yield made
    made.close()


@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_is_used_and_shown_its_own_login_alone(tls: bool, proxy: Proxy) -> None:
    scheme = "https" if tls else "http"
    with serve(demand("user:s3cret"), tls=tls) as server:
        url = f"{proxy.url.replace('://', '://pu:p%40w@')}"
        for environ in ({f"{scheme}_proxy": url}, {f"{scheme.upper()}_PROXY": url}, {"all_proxy": url}):
            listing = ask(default_url=server.url_for("user:s3cret"), cert=str(CERT), environ=environ)
            assert name_files(listing) == [WHEEL]
        listing = ask(default_url=server.url_for("user:s3cret"), cert=str(CERT), proxy=url, environ={"no_proxy": "*"})
        assert name_files(listing) == [WHEEL]
        assert len(proxy.seen) == 4
        assert proxy.seen[0] == (f"CONNECT {server.host}" if tls else f"GET {server.url}alpha/")
        assert not any("proxy-authorization" in each.headers for each in server.requests)
        for environ in ({f"{scheme}_proxy": url, "no_proxy": "127.0.0.1"}, {"all_proxy": url, "NO_PROXY": server.host}):
            assert name_files(ask(default_url=server.url_for("user:s3cret"), cert=str(CERT), environ=environ)) == [
                WHEEL
            ]
        assert len(proxy.seen) == 4


def test_a_proxy_that_lets_us_not_in_or_is_none_is_told_without_its_login(proxy: Proxy) -> None:
    with serve(always(FOUND)) as server:
        with pytest.raises(FetchError, match="HTTP 407"):
            ask(default_url=server.url, proxy=proxy.url.replace("://", "://pu:wr0ng@"))
        for text in ("socks5://u:s3cret@h", "http://u:s3cret@[x", "http://"):
            with pytest.raises(FetchError, match="the proxy that is named is no http proxy") as caught:
                ask(default_url=server.url, proxy=text)
            assert "s3cret" not in str(caught.value)
    with serve(always(FOUND), tls=True) as server, pytest.raises(IndexUnreachableError, match="407"):
        ask(default_url=server.url, cert=str(CERT), proxy=proxy.url)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel of some size, its RECORD at the end."""
    directory = tmp_path / "simple" / "alpha"
    directory.mkdir(parents=True)
    return make_wheel(directory, "alpha", "1.0", files={f"m{number}.py": "x" * 1000 for number in range(200)})


def make_client(url: str) -> IndexClient:
    return IndexClient(Indexes(default_url=url, retries=0), environ={})


def read_members(client: IndexClient, file: IndexFile, tail_bytes: int) -> dict[str, bytes]:
    with client.open(file, tail_bytes=tail_bytes) as source, zipfile.ZipFile(source) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("tail_bytes", [1, 100, 5000, 1 << 20])
@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_wheel_is_read_in_parts_as_it_is(tail_bytes: int, has_ranges: bool, wheel: Path, tmp_path: Path) -> None:
    script = serve_directory(tmp_path)

    def without_ranges(request: Request) -> Answer:
        return script(Request(path=request.path, headers={}))

    with serve(script if has_ranges else without_ranges) as server, make_client(server.url) as client:
        (file,) = client.list_files([ALPHA]).files["alpha"]
        found = read_members(client, file, tail_bytes)
        local = IndexFile(filename=wheel.name, url=wheel.as_uri())
        assert client.compute_sha256(file) == client.compute_sha256(local)
    with zipfile.ZipFile(wheel) as archive:
        assert found == {name: archive.read(name) for name in archive.namelist()}


def test_one_request_reads_a_record_where_its_size_is_known(wheel: Path, tmp_path: Path) -> None:
    with serve(serve_directory(tmp_path)) as server:
        with IndexClient(Indexes(default_url=server.url), environ={}) as client:
            (file,) = client.list_files([ALPHA]).files["alpha"]
            with client.open(file, tail_bytes=100_000) as source, zipfile.ZipFile(source) as archive:
                archive.read("alpha-1.0.dist-info/RECORD")
        assert len(server.requests) == 2
        assert server.requests[1].headers["range"] == "bytes=-100000"


LYING = [
    Answer(status=206, body=b"x" * 50),
    Answer(status=206, body=b"x" * 50, headers={"Content-Range": "bytes 0-49/5000000000"}),
    Answer(status=206, body=b"x" * 50, headers={"Content-Range": "bytes 100-149/120"}),
    Answer(status=206, body=b"x" * 50, headers={"Content-Range": "bytes -1--2/-3"}),
    Answer(status=206, body=b"x" * 50, headers={"Content-Range": "nonsense"}),
    Answer(status=404),
    Answer(status=401),
    Answer(status=416),
    Answer(status=304),
]


@pytest.mark.parametrize("answer", LYING)
def test_a_server_that_lies_about_parts_is_one_sentence(answer: Answer) -> None:
    with serve(always(answer)) as server:
        file = IndexFile(filename=WHEEL, url=f"http://{server.host}/{WHEEL}?token=s3cret")
        with (
            IndexClient(Indexes(retries=0), environ={}) as client,
            pytest.raises(FetchError, match="cannot be read") as caught,
        ):
            client.open(file)
    assert "s3cret" not in str(caught.value)


def test_a_later_part_that_is_another_is_refused(wheel: Path, tmp_path: Path) -> None:
    script = serve_directory(tmp_path)

    def lie(request: Request) -> Answer:
        answer = script(request)
        if not request.headers.get("range", "bytes=-").startswith("bytes=-"):
            return Answer(status=206, body=answer.body, headers={"Content-Range": "bytes 0-1/2"})
        return answer

    with serve(lie) as server, IndexClient(Indexes(default_url=server.url), environ={}) as client:
        (file,) = client.list_files([ALPHA]).files["alpha"]
        with pytest.raises(FetchError, match="cannot be read in parts"):
            read_members(client, file, 5000)


def test_files_and_pages_of_this_machine_are_listed_without_a_request(wheel: Path, tmp_path: Path) -> None:
    sdist = wheel.parent / "alpha-1.0.tar.gz"
    sdist.write_bytes(b"x")
    (wheel.parent / "notes.txt").write_text("x")
    page = tmp_path / "links.html"
    page.write_text(f'<a href="simple/alpha/{wheel.name}">x</a>')
    simple = tmp_path / "simple"
    for options, expected in (
        ({"default_url": simple.as_uri()}, [wheel.name, sdist.name]),
        ({"default_url": str(simple)}, [wheel.name, sdist.name]),
        ({"no_index": True, "find_links": (str(wheel.parent),)}, [wheel.name, sdist.name]),
        ({"no_index": True, "find_links": (wheel.parent.as_uri(),)}, [wheel.name, sdist.name]),
        ({"no_index": True, "find_links": (str(page),)}, [wheel.name]),
        ({"no_index": True, "find_links": (page.as_uri(),)}, [wheel.name]),
        ({"default_url": str(tmp_path)}, []),
    ):
        listing = ask(**options)
        assert name_files(listing) == expected
        assert all(each.url.startswith("file:///") for each in listing.files["alpha"])


def test_a_page_of_links_elsewhere_is_read_and_one_that_is_gone_is_noted() -> None:
    def script(request: Request) -> Answer:
        return FOUND if request.path == "/links.html" else Answer(status=404)

    with serve(script) as server:
        links = (f"http://{server.host}/links.html", f"http://{server.host}/gone.html?t=s3cret")
        listing = ask(no_index=True, find_links=links)
    assert name_files(listing) == [WHEEL]
    assert listing.failures == (f"`http://{server.host}/gone.html` answers HTTP 404",)


def test_an_interrupt_waits_for_no_server() -> None:
    with serve(always(Answer(hang=True))) as server:
        indexes = Indexes(default_url=server.url, timeout_s=60.0)
        started = time.monotonic()
        thread = threading.Thread(target=lambda: list_in_vain(client))
        with contextlib.suppress(KeyboardInterrupt), IndexClient(indexes, environ={}) as client:
            thread.start()
            while not server.requests:
                time.sleep(0.01)
            raise KeyboardInterrupt
        thread.join(10)
        assert not thread.is_alive()
        assert time.monotonic() - started < 15


def list_in_vain(client: IndexClient) -> None:
    with pytest.raises(IndexUnreachableError):
        client.list_files([ALPHA])
