"""What a server counts, and Prometheus' text of it (exposition format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.rows = 0
        self.calls = 0
        self.gathered = 0
        self.refusals_to_gather = 0
        self.lost_workers = 0
        self.waiting = 0
        self.ready_workers = 0
        self._buckets = [0] * (len(_BOUNDS_S) + 1)
        self._sum_s = 0.0

    def count_answer(self, route: str, status: int, took_s: float) -> None:
        """Note an answer, and for one of the model how long it took."""
        self.answers[route, status] += 1
        if route == "/invocations":
            self._buckets[bisect_left(_BOUNDS_S, took_s)] += 1
            self._sum_s += took_s

    def _format_times(self) -> list[str]:
        lines, seen = [], 0
        for bound, count in zip((*map(repr, _BOUNDS_S), "+Inf"), self._buckets, strict=True):
            seen += count
            lines.append(f'repro_invocation_seconds_bucket{{le="{bound}"}} {seen}')
        return [*lines, f"repro_invocation_seconds_sum {self._sum_s:.6f}", f"repro_invocation_seconds_count {seen}"]

    def format(self) -> str:
        """Return the text for a scrape."""
        plain = (
            ("repro_rows_total", "counter", "rows that the model was asked for", self.rows),
            ("repro_model_calls_total", "counter", "calls of the model's predict", self.calls),
            ("repro_gathered_requests_total", "counter", "requests that shared a call", self.gathered),
            ("repro_gathering_refused_total", "counter", "kinds of rows asked alone", self.refusals_to_gather),
            ("repro_workers_lost_total", "counter", "workers that ended and were replaced", self.lost_workers),
            ("repro_waiting_requests", "gauge", "requests that wait for a worker", self.waiting),
            ("repro_ready_workers", "gauge", "workers that have the model", self.ready_workers),
        )
        lines = ["# HELP repro_requests_total answers by path and status", "# TYPE repro_requests_total counter"]
        for (route, status), count in sorted(self.answers.items()):
            lines.append(f'repro_requests_total{{path="{route}",status="{status}"}} {count}')
        lines += ["# HELP repro_invocation_seconds time from the request to its answer"]
        lines += ["# TYPE repro_invocation_seconds histogram", *self._format_times()]
        for name, kind, meaning, value in plain:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"
