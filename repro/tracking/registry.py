"""The model registry in MLflow's FileStore layout: names, their versions, tags and aliases.

<root>/models/<name>/meta.yaml
                     tags/<key>
                     aliases/<alias>                    the version as text
                     version-<N>/meta.yaml              moved into place whole: two at once get two numbers
                                 tags/<key>

A deleted version stays, with the stage `Deleted_Internal`, so that its number is not given again.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from repro.errors import ReproError, TrackingError, TrackingExistsError, TrackingNotFoundError
from repro.files import hold_directory, new_nonce, remove_tree, write_atomically
from repro.formats.model_meta import (
    DELETED_STAGE,
    STAGES,
    ModelVersion,
    RegisteredModel,
    format_model_version_meta,
    format_registered_model_meta,
    parse_model_version_meta,
    parse_registered_model_meta,
)
from repro.tracking.clock import now_ms
from repro.tracking.run_files import explaining, read_values, remove_value, write_value
from repro.values import replace

_META = "meta.yaml"
_MAX_TAG_KEY = 250
_MAX_TAG_VALUE = 100_000
_ALIAS = re.compile(r"[\w\-]{1,255}")
_THERE = (errno.EEXIST, errno.ENOTDIR, errno.ENOTEMPTY)
_VERSION_DIR = re.compile(r"version-([1-9][0-9]{0,17})")


def _check_name(name: str) -> None:
    if (
        not name.strip()
        or name in (".", "..")
        or any(each in '/\\:%"' or not each.isprintable() for each in name)
        or len(name.encode()) > 255
    ):
        raise TrackingError(
            f"`{name}` is no name for a model", hint='1 to 255 bytes without `/`, `\\`, `:`, `%` and `"`'
        )


def _check_alias(alias: str) -> None:
    if not _ALIAS.fullmatch(alias):
        raise TrackingError(f"`{alias}` is no alias", hint="1 to 255 letters, digits, `_` and `-`")
    if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise TrackingError(f"the alias `{alias}` is reserved")


def _check_tag(key: str, value: str) -> None:
    if len(key) > _MAX_TAG_KEY or len(value) > _MAX_TAG_VALUE:
        raise TrackingError(
            f"the tag `{key[:_MAX_TAG_KEY]}` is too long", hint="keys of 250, values of 100,000 characters"
        )


def parse_stage(text: str) -> str:
    """Return a stage as MLflow spells it, whatever its case. Raises TrackingError."""
    for stage in STAGES:
        if stage.lower() == text.lower():
            return stage
    raise TrackingError(f"`{text}` is no stage", hint=", ".join(STAGES))


class Registry:
    """The registered models below the root of a file store.

    Every deed raises TrackingNotFoundError for what does not exist, TrackingExistsError for a name that is taken,
    TrackingError for what may not be.
    """

    def __init__(self, root: Path) -> None:
        self.root = root / "models"

    def _locate(self, name: str) -> Path:
        _check_name(name)
        return self.root / name

    def _get_dir(self, name: str) -> Path:
        directory = self._locate(name)
        if not (directory / _META).is_file():
            raise TrackingNotFoundError(f"Registered Model with name={name} not found")
        return directory

    def _write_model(self, directory: Path, model: RegisteredModel) -> None:
        write_atomically(directory / _META, format_registered_model_meta(model), durable=False)

    def _read_model(self, directory: Path) -> RegisteredModel:
        path = directory / _META
        model = parse_registered_model_meta(path.read_text(encoding="utf-8"), where=str(path))
        aliases = read_values(str(directory / "aliases"))
        return replace(
            model,
            tags=read_values(str(directory / "tags")),
            aliases={alias: int(version) for alias, version in aliases.items() if version.strip().isdecimal()},
        )

    def _touch(self, named: str, **changes: object) -> RegisteredModel:
        """Change what a name's meta.yaml says, and when it was changed."""
        directory = self._get_dir(named)
        with explaining("model", named), hold_directory(directory):
            model = replace(self._read_model(directory), updated_ms=now_ms(), **changes)  # type: ignore[arg-type]
            self._write_model(directory, model)
        return model

    # names

    def create_model(self, name: str, *, description: str | None, tags: dict[str, str]) -> RegisteredModel:
        """Register a name."""
        directory = self._locate(name)
        for key, value in tags.items():
            _check_tag(key, value)
        created_ms = now_ms()
        model = RegisteredModel(name=name, created_ms=created_ms, updated_ms=created_ms, description=description)
        with explaining("model", name):
            self.root.mkdir(parents=True, exist_ok=True)
            with hold_directory(self.root):
                if (directory / _META).exists():
                    raise TrackingExistsError(f"Registered Model (name={name}) already exists.")
                directory.mkdir(exist_ok=True)
                self._write_model(directory, model)
        for key, value in tags.items():
            write_value(str(directory / "tags"), "tag", key, value)
        return replace(model, tags=tags)

    def get_model(self, name: str) -> RegisteredModel:
        """Return a registered model."""
        return self._read_model(self._get_dir(name))

    def list_models(self) -> list[RegisteredModel]:
        """Return every registered model, by name; a damaged one is left out."""
        found = []
        for path in sorted(self.root.glob(f"*/{_META}")):
            with suppress(OSError, ReproError):
                found.append(self._read_model(path.parent))
        return found

    def describe_model(self, name: str, description: str | None) -> RegisteredModel:
        """Give a registered model another description."""
        return self._touch(name, description=description)

    def rename_model(self, name: str, new_name: str) -> RegisteredModel:
        """Give a registered model, and its versions, another name."""
        directory, target = self._get_dir(name), self._locate(new_name)
        with explaining("model", new_name), hold_directory(self.root):
            if target.exists():
                raise TrackingExistsError(f"Registered Model (name={new_name}) already exists.")
            os.rename(directory, target)
            for version in self._list_versions(target):
                self._write_version(target, replace(version, name=new_name))
        return self._touch(new_name, name=new_name)

    def delete_model(self, name: str) -> None:
        """Remove a registered model with its versions."""
        directory = self._get_dir(name)
        with explaining("model", name):
            remove_tree(directory)

    def set_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a registered model."""
        _check_tag(key, value)
        write_value(str(self._get_dir(name) / "tags"), "tag", key, value)
        self._touch(name)

    def delete_tag(self, name: str, key: str) -> None:
        """Remove a tag of a registered model; one that is not there is fine, as for MLflow."""
        if remove_value(str(self._get_dir(name) / "tags"), "tag", key):
            self._touch(name)

    # versions

    def _write_version(self, directory: Path, version: ModelVersion) -> None:
        path = directory / f"version-{version.version}" / _META
        write_atomically(path, format_model_version_meta(version), durable=False)

    def _read_version(self, version_dir: Path, aliases: dict[str, int]) -> ModelVersion:
        path = version_dir / _META
        version = parse_model_version_meta(path.read_text(encoding="utf-8"), where=str(path))
        own = tuple(sorted(alias for alias, number in aliases.items() if number == version.version))
        return replace(version, tags=read_values(str(version_dir / "tags")), aliases=own)

    def _list_version_dirs(self, directory: Path) -> Iterator[tuple[int, Path]]:
        with os.scandir(directory) as entries:
            for entry in entries:
                if match := _VERSION_DIR.fullmatch(entry.name):
                    yield int(match[1]), Path(entry.path)

    def _list_versions(self, directory: Path) -> list[ModelVersion]:
        """Return the versions that are not deleted, by number; a damaged one is left out."""
        aliases = dict(self._read_model(directory).aliases)
        found = []
        for _, version_dir in sorted(self._list_version_dirs(directory)):
            with suppress(OSError, ReproError):
                found.append(self._read_version(version_dir, aliases))
        return [each for each in found if each.stage != DELETED_STAGE]

    def create_version(self, version: ModelVersion) -> ModelVersion:
        """Register a version under the next free number; that of `version` does not count."""
        directory = self._get_dir(version.name)
        for key, value in version.tags.items():
            _check_tag(key, value)
        temporary = directory / f".{new_nonce()}.tmp"
        with explaining("model version", version.name):
            temporary.mkdir()
            try:
                made = self._place_version(directory, temporary, version)
            finally:
                remove_tree(temporary)
        for key, value in version.tags.items():
            write_value(str(directory / f"version-{made.version}" / "tags"), "tag", key, value)
        self._touch(version.name)
        return made

    def _place_version(self, directory: Path, temporary: Path, version: ModelVersion) -> ModelVersion:
        """Move a version's directory to the next number; where another was faster, to the one after."""
        number = max((number for number, _ in self._list_version_dirs(directory)), default=0)
        while True:
            number += 1
            made = replace(version, version=number, created_ms=(now := now_ms()), updated_ms=now)
            write_atomically(temporary / _META, format_model_version_meta(made), durable=False)
            try:
                os.rename(temporary, directory / f"version-{number}")
                return made
            except OSError as error:
                if error.errno not in _THERE:
                    raise

    def get_version(self, name: str, number: int) -> ModelVersion:
        """Return a version."""
        directory = self._get_dir(name)
        version_dir = directory / f"version-{number}"
        if (version_dir / _META).is_file():
            version = self._read_version(version_dir, dict(self._read_model(directory).aliases))
            if version.stage != DELETED_STAGE:
                return version
        raise TrackingNotFoundError(f"Model Version (name={name}, version={number}) not found")

    def list_versions(self, name: str | None = None) -> list[ModelVersion]:
        """Return the versions of a name, or of all."""
        directories = [self._get_dir(name)] if name else [path.parent for path in self.root.glob(f"*/{_META}")]
        found: list[ModelVersion] = []
        for directory in sorted(directories):
            with suppress(OSError, ReproError):
                found += self._list_versions(directory)
        return found

    def list_latest_versions(self, name: str, stages: tuple[str, ...] = ()) -> list[ModelVersion]:
        """Return the newest version of each stage, or of the stages given."""
        wanted = {parse_stage(each) for each in stages} or set(STAGES)
        latest = {each.stage: each for each in self._list_versions(self._get_dir(name))}
        return [latest[stage] for stage in STAGES if stage in latest and stage in wanted]

    def _change_version(self, version: ModelVersion, **changes: object) -> ModelVersion:
        changed = replace(version, updated_ms=now_ms(), **changes)  # type: ignore[arg-type]
        with explaining("model version", version.name):
            self._write_version(self._get_dir(version.name), changed)
        return changed

    def describe_version(self, name: str, number: int, description: str | None) -> ModelVersion:
        """Give a version another description."""
        return self._change_version(self.get_version(name, number), description=description)

    def move_version(self, name: str, number: int, stage: str, *, archive_others: bool) -> ModelVersion:
        """Move a version to a stage, and those that are there to `Archived` where that is wanted."""
        target = parse_stage(stage)
        version = self.get_version(name, number)
        if archive_others and target not in ("Staging", "Production"):
            raise TrackingError(f"versions cannot be archived for the stage `{target}`", hint="Staging or Production")
        for other in self._list_versions(self._get_dir(name)) if archive_others else ():
            if other.stage == target and other.version != number:
                self._change_version(other, stage="Archived")
        moved = self._change_version(version, stage=target)
        self._touch(name)
        return moved

    def delete_version(self, name: str, number: int) -> None:
        """Remove a version and its aliases; its number is not given again."""
        version = self.get_version(name, number)
        self._change_version(version, stage=DELETED_STAGE)
        for alias in version.aliases:
            remove_value(str(self._get_dir(name) / "aliases"), "alias", alias)
        self._touch(name)

    def set_version_tag(self, name: str, number: int, key: str, value: str) -> None:
        """Set a tag of a version."""
        _check_tag(key, value)
        self.get_version(name, number)
        write_value(str(self._get_dir(name) / f"version-{number}" / "tags"), "tag", key, value)
        self._touch(name)

    def delete_version_tag(self, name: str, number: int, key: str) -> None:
        """Remove a tag of a version; one that is not there is fine, as for MLflow."""
        self.get_version(name, number)
        if remove_value(str(self._get_dir(name) / f"version-{number}" / "tags"), "tag", key):
            self._touch(name)

    # aliases

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Let an alias name a version."""
        _check_alias(alias)
        self.get_version(name, number)
        write_value(str(self._get_dir(name) / "aliases"), "alias", alias, str(number))
        self._touch(name)

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias; one that is not there is fine, as for MLflow."""
        if remove_value(str(self._get_dir(name) / "aliases"), "alias", alias):
            self._touch(name)

    def get_aliased_version(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias names; `latest` is the highest."""
        if alias.lower() == "latest":
            versions = self._list_versions(self._get_dir(name))
            if versions:
                return versions[-1]
        number = self.get_model(name).aliases.get(alias)
        if number is None:
            raise TrackingError(f"Registered model alias {alias} not found.")
        return self.get_version(name, number)
