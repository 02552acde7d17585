"""Deeds on experiments."""

from __future__ import annotations

from repro.errors import TrackingNotFoundError
from repro.formats.run_meta import Experiment
from repro.tracking.entities import MAX_RESULTS, MAX_RESULTS_DEFAULT, ExperimentQuery
from repro.tracking.server.calls import Call, find_view, get_page_size, get_word
from repro.tracking.server.limits import check_experiment_name, check_experiment_tags
from repro.tracking.server.locations import check_new_location, tell_experiment
from repro.tracking.server.replies import JsonReply
from repro.tracking.server.site import Site
from repro.tracking.wire import Fields, find_text, format_experiment, list_fields, list_texts, parse_pairs

_DONE = JsonReply(fields={})


def _format(experiment: Experiment) -> Fields:
    return format_experiment(experiment, artifact_location=tell_experiment(experiment))


def create_experiment(site: Site, call: Call) -> JsonReply:
    """Make an experiment."""
    fields = call.read_fields()
    name, location = get_word(fields, "name"), find_text(fields, "artifact_location")
    tags = parse_pairs(list_fields(fields, "tags"))
    check_experiment_name(name)
    check_experiment_tags(tags)
    kept = check_new_location(location) if location else None
    return JsonReply(fields={"experiment_id": site.store.create_experiment(name, artifact_location=kept, tags=tags)})


def get_experiment(site: Site, call: Call) -> JsonReply:
    """Return an experiment by its id."""
    experiment_id = get_word(call.read_fields(), "experiment_id")
    return JsonReply(fields={"experiment": _format(site.store.get_experiment(experiment_id))})


def find_experiment(site: Site, call: Call) -> JsonReply:
    """Return an experiment by its name."""
    name = get_word(call.read_fields(), "experiment_name")
    experiment = site.store.find_experiment(name)
    if experiment is None:
        raise TrackingNotFoundError(f"Could not find experiment with name '{name}'")
    return JsonReply(fields={"experiment": _format(experiment)})


def search_experiments(site: Site, call: Call) -> JsonReply:
    """Return a page of experiments."""
    fields = call.read_fields()
    page = site.store.search_experiments(
        ExperimentQuery(
            filter=find_text(fields, "filter") or "",
            view=find_view(fields, "view_type"),
            order_by=list_texts(fields, "order_by"),
            max_results=get_page_size(fields, MAX_RESULTS_DEFAULT, MAX_RESULTS),
            page_token=find_text(fields, "page_token") or None,
        )
    )
    token = {"next_page_token": page.token} if page.token else {}
    return JsonReply(fields={"experiments": [_format(each) for each in page], **token})


def rename_experiment(site: Site, call: Call) -> JsonReply:
    """Give an experiment another name."""
    fields = call.read_fields()
    experiment_id, name = get_word(fields, "experiment_id"), find_text(fields, "new_name")
    site.permit.check_removal("an experiment's name")
    if name:
        check_experiment_name(name)
        site.store.rename_experiment(experiment_id, name)
    return _DONE


def delete_experiment(site: Site, call: Call) -> JsonReply:
    """Mark an experiment as deleted."""
    experiment_id = get_word(call.read_fields(), "experiment_id")
    site.permit.check_removal("experiments")
    site.store.delete_experiment(experiment_id)
    return _DONE


def restore_experiment(site: Site, call: Call) -> JsonReply:
    """Make a deleted experiment active again."""
    experiment_id = get_word(call.read_fields(), "experiment_id")
    site.permit.check_removal("experiments")
    site.store.restore_experiment(experiment_id)
    return _DONE


def set_experiment_tag(site: Site, call: Call) -> JsonReply:
    """Set a tag of an experiment."""
    fields = call.read_fields()
    key, value = get_word(fields, "key"), find_text(fields, "value") or ""
    check_experiment_tags({key: value})
    site.store.set_experiment_tag(get_word(fields, "experiment_id"), key, value)
    return _DONE


def delete_experiment_tag(site: Site, call: Call) -> JsonReply:
    """Remove a tag of an experiment."""
    fields = call.read_fields()
    site.store.delete_experiment_tag(get_word(fields, "experiment_id"), get_word(fields, "key"))
    return _DONE
