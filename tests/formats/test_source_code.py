"""What source imports, found without running it."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest

from repro.formats.source_code import find_imports, find_notebook_imports


def list_required(source: str) -> list[str]:
    return [each.name for each in find_imports(dedent(source)) if not each.optional]


def list_optional(source: str) -> list[str]:
    return [each.name for each in find_imports(dedent(source)) if each.optional]


def test_names_are_dotted_and_relative_imports_are_left_out() -> None:
    source = """
        import a, b.c as d
        from e.f import g, h
        from i import *
        from . import j
        from .k import l
    """
    assert list_required(source) == ["a", "b.c", "e.f.g", "e.f.h", "i"]


def test_imports_are_found_wherever_statements_stand() -> None:
    source = """
        def f():
            import a
        class C:
            async def m(self):
                with open("x"):
                    for x in y:
                        import b
        if __name__ == "__main__":
            import c
        else:
            import d
        match x:
            case 1:
                import e
        try:
            import f
        finally:
            import g
    """
    assert list_required(source) == list("abcdefg")


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import x\nexcept ImportError:\n    x = None",
        "try:\n    import x\nexcept (ImportError, KeyError):\n    pass",
        "try:\n    import x\nexcept ModuleNotFoundError:\n    pass",
        "try:\n    import x\nexcept builtins.ImportError:\n    pass",
        "try:\n    import x\n    HAS_X = True\nexcept Exception:\n    HAS_X = False",
        "try:\n    import x\nexcept:\n    pass",
        "try:\n    a = 1\nexcept ImportError:\n    import x",
        "try:\n    a = 1\nexcept ImportError:\n    pass\nelse:\n    def f():\n        import x",
        "with contextlib.suppress(ImportError):\n    import x",
        "if TYPE_CHECKING:\n    import x",
        "if typing.TYPE_CHECKING:\n    import x",
        "if not TYPE_CHECKING:\n    pass\nelse:\n    import x",
        "if sys.version_info < (3, 11):\n    import x",
        "if sys.platform == 'win32':\n    pass\nelif a:\n    import x",
        "if os.name == 'nt':\n    import x",
        "if importlib.util.find_spec('x'):\n    import x",
    ],
)
def test_an_import_the_code_can_do_without_is_optional(source: str) -> None:
    assert (list_required(source), list_optional(source)) == ([], ["x"])


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import x\nexcept ValueError:\n    pass",
        "try:\n    import x\n    run()\nexcept Exception:\n    pass",
        "try:\n    pass\nexcept ImportError:\n    pass\nfinally:\n    import x",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import x",
        "if not TYPE_CHECKING:\n    import x",
        "if name == 'a':\n    import x",
        "with suppress(KeyError):\n    import x",
        "with open(ImportError):\n    import x",
    ],
)
def test_any_other_import_is_needed(source: str) -> None:
    assert (list_required(source), list_optional(source)) == (["x"], [])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("print 'a'", "line 1: Missing parentheses"),
        ("import a\n\ndef f(:\n", "line 3: "),
        ("import a\0", "null bytes"),
        ("(" * 5000, "too many nested parentheses|nested too deeply"),
        ("-" * 100_000 + "1", "nested too deeply|nested"),
        (b"# coding: nonsense\nimport a", "unknown encoding"),
        (b"x = '\xff'", "utf-8"),
    ],
)
def test_what_is_not_python_is_explained(source: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        find_imports(source)


def test_a_declared_encoding_is_honoured_and_no_warning_escapes() -> None:
    source = "# coding: latin-1\nx = 'é\\d'\nimport a\n".encode("latin-1")
    assert [(each.name, each.line) for each in find_imports(source)] == [("a", 3)]


def make_notebook(*cells: object, **metadata: object) -> str:
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4})


def code(source: str | list[str]) -> dict[str, object]:
    return {"cell_type": "code", "source": source}


def test_the_cells_of_a_notebook_are_read_without_what_ipython_alone_understands() -> None:
    notebook = make_notebook(
        {"cell_type": "markdown", "source": "import never"},
        code(["%matplotlib inline\n", "!pip install x \\\n", "    y\n", "import a\n", "files = !ls\n", "a.b?"]),
        code("%%bash\nimport never"),
        code("%%time\nimport b"),
        code("x = '''\n%s\n!''' % 3\nawait y\nimport c"),
        code("if True:\n    %time x\n    import d"),
    )
    found = find_notebook_imports(notebook)
    assert [(each.name, each.line) for each in found] == [("a", 2), ("b", 4), ("c", 5), ("d", 6)]


def test_a_notebook_of_another_language_imports_nothing() -> None:
    assert find_notebook_imports(make_notebook(code("import a"), kernelspec={"language": "R"})) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[]", "not a notebook of format 4"),
        ('{"cells": 1}', "not a notebook of format 4"),
        ("[" * 100_000, "nested too deeply"),
        (make_notebook(code("import a"), code("def")), "cell 2, line 1: "),
    ],
)
def test_what_is_no_notebook_is_explained(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        find_notebook_imports(text)


@pytest.mark.parametrize("cell", [None, 3, {}, {"cell_type": "code"}, {"cell_type": "code", "source": None}])
def test_an_odd_cell_does_not_stop_the_others(cell: object) -> None:
    assert [each.name for each in find_notebook_imports(make_notebook(cell, code("import a")))] == ["a"]
