"""Deeds on runs as wholes: make, find, change, delete."""

from __future__ import annotations

from repro.formats.run_meta import RunStatus
from repro.tracking.clock import now_ms
from repro.tracking.entities import MAX_RESULTS, MAX_RESULTS_DEFAULT, NewRun, Run, RunQuery
from repro.tracking.run_models import read_model_inputs, read_model_outputs
from repro.tracking.server.calls import Call, find_view, get_page_size, get_run_id
from repro.tracking.server.limits import cut_tags
from repro.tracking.server.locations import tell_run
from repro.tracking.server.replies import JsonReply
from repro.tracking.server.site import Site
from repro.tracking.store import DEFAULT_EXPERIMENT
from repro.tracking.wire import (
    Fields,
    find_text,
    find_whole,
    format_run,
    format_run_info,
    list_fields,
    list_texts,
    parse_pairs,
    parse_status,
)

_DONE = JsonReply(fields={})


def _format(site: Site, run: Run) -> Fields:
    """Return a run with the models that it has read and made, which the store's `Run` has not."""
    fields = dict(format_run(run, artifact_uri=tell_run(run.info)))
    run_dir = site.store.root / run.info.experiment_id / run.run_id
    if not run_dir.is_dir():
        run_dir = site.store.find_run_dir(run.run_id)
    if models := read_model_inputs(run_dir):
        inputs = fields["inputs"] if isinstance(fields["inputs"], dict) else {}
        fields["inputs"] = {**inputs, "model_inputs": [{"model_id": each} for each in models]}
    if outputs := read_model_outputs(run_dir):
        fields["outputs"] = {"model_outputs": [{"model_id": each.model_id, "step": each.step} for each in outputs]}
    return fields


def create_run(site: Site, call: Call) -> JsonReply:
    """Make a run."""
    fields = call.read_fields()
    run = site.store.create_run(
        NewRun(
            experiment_id=find_text(fields, "experiment_id") or DEFAULT_EXPERIMENT,
            user_id=find_text(fields, "user_id") or "",
            start_time_ms=find_whole(fields, "start_time") or now_ms(),
            run_name=find_text(fields, "run_name") or None,
            tags=cut_tags(parse_pairs(list_fields(fields, "tags"))),
        )
    )
    site.permit.note_run(run.run_id)
    return JsonReply(fields={"run": format_run(run, artifact_uri=tell_run(run.info))})


def get_run(site: Site, call: Call) -> JsonReply:
    """Return a run."""
    return JsonReply(fields={"run": _format(site, site.store.get_run(get_run_id(call.read_fields())))})


def search_runs(site: Site, call: Call) -> JsonReply:
    """Return a page of runs."""
    fields = call.read_fields()
    page = site.store.search_runs(
        RunQuery(
            experiment_ids=list_texts(fields, "experiment_ids"),
            filter=find_text(fields, "filter") or "",
            view=find_view(fields, "run_view_type"),
            order_by=list_texts(fields, "order_by"),
            max_results=get_page_size(fields, MAX_RESULTS_DEFAULT, MAX_RESULTS),
            page_token=find_text(fields, "page_token") or None,
        )
    )
    token = {"next_page_token": page.token} if page.token else {}
    return JsonReply(fields={"runs": [_format(site, each) for each in page], **token})


def _find_status(fields: Fields) -> RunStatus | None:
    """Return a status by word or by number."""
    value = fields.get("status")
    if isinstance(value, int) and 1 <= value <= len(RunStatus):
        return tuple(RunStatus)[value - 1]
    return None if value is None else parse_status(str(value))


def update_run(site: Site, call: Call) -> JsonReply:
    """Change a run's status, end or name."""
    fields = call.read_fields()
    run_id = get_run_id(fields)
    site.permit.check_run(run_id)
    info = site.store.update_run(
        run_id,
        status=_find_status(fields),
        end_time_ms=find_whole(fields, "end_time") or None,
        name=find_text(fields, "run_name") or None,
    )
    return JsonReply(fields={"run_info": format_run_info(info, artifact_uri=tell_run(info))})


def delete_run(site: Site, call: Call) -> JsonReply:
    """Mark a run as deleted."""
    run_id = get_run_id(call.read_fields())
    site.permit.check_run(run_id)
    site.store.delete_run(run_id)
    return _DONE


def restore_run(site: Site, call: Call) -> JsonReply:
    """Make a deleted run active again."""
    run_id = get_run_id(call.read_fields())
    site.permit.check_run(run_id)
    site.store.restore_run(run_id)
    return _DONE
