"""When two points of a metric are one: what a server has already is told by this."""

from __future__ import annotations

import math

from repro.formats.run_meta import MetricPoint

_LARGEST = 1.7976931348623157e308  # what SQL stores keep an infinity as


def identify(point: MetricPoint) -> tuple[object, int, int]:
    """Return what equal points have in common: value, time and step; NaN equals NaN, infinity the largest number."""
    value: object = point.value
    if math.isnan(point.value):
        value = "NaN"
    elif math.isinf(point.value):
        value = math.copysign(_LARGEST, point.value)
    return value, point.timestamp_ms, point.step
