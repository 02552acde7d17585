"""The output of resolvers."""

from repro.formats.compiled import parse_compiled


def test_pins_urls_and_who_requires_them_are_read() -> None:
    text = """\
--extra-index-url https://user:secret@example.org/simple

flask==3.1.3
    # via -r requirements.in
Jinja2==3.1.6 ; python_version > "3"
    # via
    #   -r requirements.in
    #   flask[async]
    #   werkzeug (from x)
mine @ git+https://example.org/mine.git@0123
    # via -r requirements.in
six==1.17.0
    # via flask, mine
"""
    found = [(each.name, each.version, each.url, each.via, each.requested) for each in parse_compiled(text)]
    assert found == [
        ("flask", "3.1.3", None, (), True),
        ("jinja2", "3.1.6", None, ("flask",), True),
        ("mine", None, "git+https://example.org/mine.git@0123", (), True),
        ("six", "1.17.0", None, ("flask", "mine"), False),
    ]
