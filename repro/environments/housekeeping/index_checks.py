"""Look whether the indexes that are configured answer, and let us in."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime

from repro.environments.housekeeping.checks import Check, Health
from repro.environments.machine import Machine
from repro.errors import ReproError
from repro.formats.direct_url import clean_url
from repro.snapshots.door import Response
from repro.snapshots.index_client import IndexClient
from repro.snapshots.indexes import Indexes, find_path

_CLOCK_SLACK_S = 300.0
_CREDENTIALS_HINT = "give the credentials in the index URL or in a netrc file"


def _find_clock_error(response: Response) -> float:
    """Return how far our clock is from the server's, in seconds."""
    try:
        return time.time() - parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except (ValueError, TypeError, IndexError):
        return 0.0


def _judge(response: Response, subject: str, seconds: float) -> Check:
    status = response.status
    text = f"HTTP {status} in {seconds:.2f} s"
    if status in (401, 403):
        return Check(about="index", subject=subject, health=Health.BAD, text=text, hint=_CREDENTIALS_HINT)
    if status not in (200, 404, 410):  # one that has no `pip` answers all the same
        return Check(about="index", subject=subject, health=Health.BAD, text=text, hint="try again, or ask who runs it")
    off = _find_clock_error(response)
    if abs(off) > _CLOCK_SLACK_S:
        text += f"; our clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} its"
        return Check(about="index", subject=subject, health=Health.DOUBTFUL, text=text, hint="set the clock")
    return Check(about="index", subject=subject, health=Health.GOOD, text=text)


def _check_place(place: str, subject: str) -> Check:
    path = find_path(place)
    is_there = path is not None and os.path.exists(path)
    health = Health.GOOD if is_there else Health.BAD
    return Check(about="index", subject=subject, health=health, text="there" if is_there else "not there")


def _check_index(client: IndexClient, place: str) -> Check:
    subject = clean_url(place) if "://" in place else place
    if find_path(place) is not None:
        return _check_place(place, subject)
    started = time.perf_counter()
    try:
        response = client.greet(place)
    except ReproError as error:
        return Check(about="index", subject=subject, health=Health.BAD, text=error.message, hint="check the network")
    return _judge(response, subject, time.perf_counter() - started)


def _list_places(indexes: Indexes) -> list[str]:
    return list(dict.fromkeys((*indexes.urls, *indexes.named_urls, *indexes.find_links)))


def _check_all(machine: Machine, indexes: Indexes) -> Sequence[Check]:
    places = _list_places(indexes)
    with IndexClient(indexes, environ=machine.environ) as client:
        return client.map(lambda place: _check_index(client, place), places)


def check_indexes(machine: Machine, indexes: Indexes, *, offline: bool) -> Sequence[Check]:
    """Return how each place is that files come from; without credentials. Nothing is asked offline."""
    if offline:
        text = "not asked (`--offline`)"
        places = [clean_url(url) if "://" in url else url for url in _list_places(indexes)]
        return [Check(about="index", subject=place, health=Health.GOOD, text=text) for place in places]
    return _check_all(machine, indexes)
