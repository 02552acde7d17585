"""The digests of a model's files: what was changed or taken away is found, and no path leads out."""

from __future__ import annotations

import hashlib
from pathlib import Path

from repro.models.digests import compute_digests, find_altered


def make_model(directory: Path) -> Path:
    (directory / "code").mkdir(parents=True)
    (directory / "MLmodel").write_text("flavors: {}\n")
    (directory / "model.bin").write_bytes(b"\0\1")
    (directory / "code" / "loader.py").write_text("")
    return directory


def test_each_file_but_the_mlmodel_has_its_sha256(tmp_path: Path) -> None:
    digests = compute_digests(make_model(tmp_path / "model"))
    assert list(digests) == ["code/loader.py", "model.bin"]
    assert digests["model.bin"] == f"sha256:{hashlib.sha256(bytes([0, 1])).hexdigest()}"


def test_an_untouched_model_is_not_altered(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    assert not find_altered(model, compute_digests(model))


def test_what_was_changed_and_what_is_gone_are_named(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    digests = compute_digests(model)
    (model / "model.bin").write_bytes(b"\0\2")
    (model / "code" / "loader.py").unlink()
    altered = find_altered(model, digests)
    assert (altered.changed, altered.missing) == (("model.bin",), ("code/loader.py",))


def test_a_path_that_leads_out_counts_as_missing(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    outside = tmp_path / "outside"
    outside.write_text("x")
    (model / "link").symlink_to(outside)
    digest = compute_digests(tmp_path)["outside"]
    names = ("../outside", str(outside), "link", "code", "a\0b", "loop/x")
    (model / "loop").symlink_to("loop")
    altered = find_altered(model, dict.fromkeys(names, digest))
    assert altered.missing == tuple(sorted(names))
