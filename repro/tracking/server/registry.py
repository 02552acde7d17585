"""Deeds on the model registry."""

from __future__ import annotations

from typing import TypeVar

from repro.errors import TrackingError
from repro.formats.model_meta import ModelVersion, RegisteredModel
from repro.tracking.entities import Page
from repro.tracking.model_search import find_registered_models, find_versions
from repro.tracking.model_store import MOST_MODELS, MOST_VERSIONS, NewVersion
from repro.tracking.model_wire import format_model_version, format_registered_model
from repro.tracking.pages import cut_page
from repro.tracking.registration import find_storage, make_version, note_version
from repro.tracking.server.calls import Call, find_flag, get_page_size, get_word
from repro.tracking.server.locations import keep_source, split_uri, tell_source
from repro.tracking.server.replies import JsonReply
from repro.tracking.server.site import Site
from repro.tracking.wire import Fields, find_text, find_whole, list_fields, list_texts, parse_pairs
from repro.values import replace

T = TypeVar("T")

_DONE = JsonReply(fields={})


def _format_version(site: Site, version: ModelVersion) -> Fields:
    return format_model_version(version, source=tell_source(version.source, site.store.root))


def _reply_version(site: Site, version: ModelVersion) -> JsonReply:
    return JsonReply(fields={"model_version": _format_version(site, version)})


def _format_model(site: Site, model: RegisteredModel) -> Fields:
    latest = site.registry.list_latest_versions(model.name)
    return format_registered_model(model, [_format_version(site, each) for each in latest])


def _reply_model(site: Site, model: RegisteredModel) -> JsonReply:
    return JsonReply(fields={"registered_model": _format_model(site, model)})


def _get_number(fields: Fields) -> int:
    """Return the number of a version."""
    number = find_whole(fields, "version")
    if number is None or number < 1:
        raise TrackingError(f"`version` is {fields.get('version')!r}, and no number of a version")
    return number


def create_model(site: Site, call: Call) -> JsonReply:
    """Register a name."""
    fields = call.read_fields()
    tags = parse_pairs(list_fields(fields, "tags"))
    model = site.registry.create_model(
        get_word(fields, "name"), description=find_text(fields, "description") or None, tags=tags
    )
    return _reply_model(site, model)


def get_model(site: Site, call: Call) -> JsonReply:
    """Return a registered model."""
    return _reply_model(site, site.registry.get_model(get_word(call.read_fields(), "name")))


def rename_model(site: Site, call: Call) -> JsonReply:
    """Give a registered model another name."""
    fields = call.read_fields()
    site.permit.check_removal("a registered model's name")
    return _reply_model(site, site.registry.rename_model(get_word(fields, "name"), get_word(fields, "new_name")))


def update_model(site: Site, call: Call) -> JsonReply:
    """Give a registered model another description."""
    fields = call.read_fields()
    description = find_text(fields, "description")
    return _reply_model(site, site.registry.describe_model(get_word(fields, "name"), description))


def delete_model(site: Site, call: Call) -> JsonReply:
    """Remove a registered model with its versions."""
    name = get_word(call.read_fields(), "name")
    site.permit.check_removal("registered models")
    site.registry.delete_model(name)
    return _DONE


def _reply_page(key: str, page: Page[T], formatted: list[Fields]) -> JsonReply:
    return JsonReply(fields={key: formatted, **({"next_page_token": page.token} if page.token else {})})


def search_models(site: Site, call: Call) -> JsonReply:
    """Return a page of registered models, by name where no order is given."""
    fields = call.read_fields()
    order_by = list_texts(fields, "order_by")
    found = find_registered_models(site.registry.list_models(), find_text(fields, "filter") or "", order_by)
    size = get_page_size(fields, 100, MOST_MODELS)
    page = cut_page(found, max_results=size, page_token=find_text(fields, "page_token"), most=MOST_MODELS)
    return _reply_page("registered_models", page, [_format_model(site, each) for each in page])


def list_latest_versions(site: Site, call: Call) -> JsonReply:
    """Return the newest version of each stage."""
    fields = call.read_fields()
    versions = site.registry.list_latest_versions(get_word(fields, "name"), list_texts(fields, "stages"))
    return JsonReply(fields={"model_versions": [_format_version(site, each) for each in versions]})


def set_model_tag(site: Site, call: Call) -> JsonReply:
    """Set a tag of a registered model."""
    fields = call.read_fields()
    site.registry.set_tag(get_word(fields, "name"), get_word(fields, "key"), find_text(fields, "value") or "")
    return _DONE


def delete_model_tag(site: Site, call: Call) -> JsonReply:
    """Remove a tag of a registered model."""
    fields = call.read_fields()
    site.registry.delete_tag(get_word(fields, "name"), get_word(fields, "key"))
    return _DONE


def set_alias(site: Site, call: Call) -> JsonReply:
    """Let an alias name a version."""
    fields = call.read_fields()
    site.registry.set_alias(get_word(fields, "name"), get_word(fields, "alias"), _get_number(fields))
    return _DONE


def delete_alias(site: Site, call: Call) -> JsonReply:
    """Remove an alias."""
    fields = call.read_fields()
    site.registry.delete_alias(get_word(fields, "name"), get_word(fields, "alias"))
    return _DONE


def get_aliased_version(site: Site, call: Call) -> JsonReply:
    """Return the version that an alias names."""
    fields = call.read_fields()
    return _reply_version(site, site.registry.get_aliased_version(get_word(fields, "name"), get_word(fields, "alias")))


def _find_source(site: Site, source: str) -> tuple[str, str | None]:
    """Return where the files are that a version is registered from, and the run that made them."""
    split_uri(source)
    location, run_id = find_storage(site.store, site.registry, site.models, source)
    return (keep_source(source, site.store.root) if location is None else location), run_id


def create_version(site: Site, call: Call) -> JsonReply:
    """Register a version."""
    fields = call.read_fields()
    new = NewVersion(
        name=get_word(fields, "name"),
        source=get_word(fields, "source"),
        run_id=find_text(fields, "run_id") or None,
        run_link=find_text(fields, "run_link") or None,
        description=find_text(fields, "description") or None,
        model_id=find_text(fields, "model_id") or None,
        tags=parse_pairs(list_fields(fields, "tags")),
    )
    location, source_run_id = _find_source(site, new.source)
    version = make_version(new, site.models, location, source_run_id)
    made = site.registry.create_version(version)
    with site.tag_lock:
        note_version(site.models, made)
    return _reply_version(site, made)


def get_version(site: Site, call: Call) -> JsonReply:
    """Return a version."""
    fields = call.read_fields()
    return _reply_version(site, site.registry.get_version(get_word(fields, "name"), _get_number(fields)))


def update_version(site: Site, call: Call) -> JsonReply:
    """Give a version another description."""
    fields = call.read_fields()
    name, number = get_word(fields, "name"), _get_number(fields)
    return _reply_version(site, site.registry.describe_version(name, number, find_text(fields, "description")))


def move_version(site: Site, call: Call) -> JsonReply:
    """Move a version to a stage."""
    fields = call.read_fields()
    name, number, stage = get_word(fields, "name"), _get_number(fields), get_word(fields, "stage")
    archive_others = find_flag(fields, "archive_existing_versions")
    return _reply_version(site, site.registry.move_version(name, number, stage, archive_others=archive_others))


def delete_version(site: Site, call: Call) -> JsonReply:
    """Remove a version."""
    fields = call.read_fields()
    site.permit.check_removal("model versions")
    site.registry.delete_version(get_word(fields, "name"), _get_number(fields))
    return _DONE


def search_versions(site: Site, call: Call) -> JsonReply:
    """Return a page of versions, the last changed first where no order is given."""
    fields = call.read_fields()
    order_by = list_texts(fields, "order_by")
    versions = [
        replace(each, source=tell_source(each.source, site.store.root)) for each in site.registry.list_versions()
    ]
    found = find_versions(versions, find_text(fields, "filter") or "", order_by)
    size = get_page_size(fields, 10_000, MOST_VERSIONS)
    page = cut_page(found, max_results=size, page_token=find_text(fields, "page_token"), most=MOST_VERSIONS)
    return _reply_page("model_versions", page, [_format_version(site, each) for each in page])


def get_download_uri(site: Site, call: Call) -> JsonReply:
    """Return where a client finds a version's files."""
    fields = call.read_fields()
    version = site.registry.get_version(get_word(fields, "name"), _get_number(fields))
    return JsonReply(fields={"artifact_uri": tell_source(version.storage_location, site.store.root)})


def set_version_tag(site: Site, call: Call) -> JsonReply:
    """Set a tag of a version."""
    fields = call.read_fields()
    name, number, key = get_word(fields, "name"), _get_number(fields), get_word(fields, "key")
    site.registry.set_version_tag(name, number, key, find_text(fields, "value") or "")
    return _DONE


def delete_version_tag(site: Site, call: Call) -> JsonReply:
    """Remove a tag of a version."""
    fields = call.read_fields()
    site.registry.delete_version_tag(get_word(fields, "name"), _get_number(fields), get_word(fields, "key"))
    return _DONE
