"""Keep wheels of what no index can give back: packed again from the installed files, or built of a working copy."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro.errors import ReproError
from repro.formats.direct_url import Checkout
from repro.formats.record import digest_wheel_record
from repro.process import Runner
from repro.snapshots.checkout import WorkingCopy, build_wheel, examine
from repro.snapshots.installed import read_installed
from repro.snapshots.memory import Artefact, Memory
from repro.snapshots.pack import pack_wheel, read_wheel_record
from repro.snapshots.probe import Found
from repro.snapshots.wheelhouse import Wheelhouse
from repro.values import frozen


@frozen
class Keeper:
    """What keeping needs: where wheels are kept, what was kept before, and how a wheel is built."""

    wheelhouse: Wheelhouse
    memory: Memory | None
    runner: Runner
    environ: Mapping[str, str]
    build_env: Mapping[str, str]
    uv: str | None

    def keep_file(self, path: Path) -> Artefact:
        """Keep a wheel that lies at `path`. Raises ReproError."""
        try:
            with zipfile.ZipFile(path) as wheel:
                record = digest_wheel_record(read_wheel_record(wheel))
        except (OSError, zipfile.BadZipFile) as error:
            raise ReproError(f"`{path.name}` is no wheel ({error})") from error
        sha256 = self.wheelhouse.keep(path)
        return Artefact(record=record, file=path.name, hashes=(f"sha256:{sha256}",), kept=True)

    def has(self, artefact: Artefact | None) -> bool:
        """Tell whether the wheel of an artefact is still kept."""
        return bool(
            artefact
            and artefact.kept
            and artefact.hashes
            and self.wheelhouse.find(artefact.hashes[0].removeprefix("sha256:"))
        )

    def keep_installed(self, found: Found) -> Artefact:
        """Pack what is installed into a wheel and keep it.

        Raises ReproError where it cannot be packed.
        """
        installed = read_installed(found)
        if installed is None:
            raise ReproError(f"`{found.entry}` has no RECORD, which says what belongs to it")
        with tempfile.TemporaryDirectory(prefix="repro-pack-") as directory:
            try:
                return self.keep_file(pack_wheel(installed, target_dir=Path(directory)))
            except OSError as error:
                raise ReproError(f"`{found.entry}` cannot be packed ({error.strerror or error})") from error

    def find_checkout(self, found: Found) -> Checkout | None:
        """Return the state of the directory a distribution was installed from, None where it is gone."""
        try:
            return examine(find_directory(found), runner=self.runner, environ=self.environ).checkout
        except ReproError:
            return None

    def keep_working_copy(self, found: Found, *, python: str, minor: str) -> tuple[Artefact, Checkout]:
        """Build the wheel of an editable's working copy as it is now, unless that state was built before.

        Raises ReproError where it is gone or cannot be built.
        """
        copy = examine(find_directory(found), runner=self.runner, environ=self.environ)
        key = hashlib.sha256(json.dumps([copy.state, found.name, found.version, minor]).encode()).hexdigest()
        known = self.memory.find_artefact(key) if self.memory else None
        if known and self.has(known):
            return known, copy.checkout
        artefact = self._build(copy, found, python=python)
        if self.memory:
            self.memory.keep_artefact(key, artefact)
        return artefact, copy.checkout

    def _build(self, copy: WorkingCopy, found: Found, *, python: str) -> Artefact:
        with tempfile.TemporaryDirectory(prefix="repro-build-") as directory:
            wheel = build_wheel(
                copy,
                version=found.version,
                python=python,
                uv=self.uv,
                runner=self.runner,
                env=self.build_env,
                target_dir=Path(directory),
            )
            return self.keep_file(wheel)


def find_directory(found: Found) -> Path:
    """Return the directory an editable or directory install came from: PEP 610's, else where its egg-info lies."""
    if found.direct_url:
        content = json.loads(found.direct_url)
        path = Path(unquote(urlsplit(content["url"]).path))
        return path / content["subdirectory"] if content.get("subdirectory") else path
    return Path(found.site)
