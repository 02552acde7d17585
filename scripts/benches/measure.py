"""Take times of whole processes in turn, and print medians and ratios.

A machine that is not quiet slows down for seconds at a time: so the cases are taken in turn, round by round, and a
ratio is the median of the rounds' own ratios, each of two times that were taken one after the other. That of the lowest
times is printed beside it: what a quiet machine would show, as far as this one can tell.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


class Case:
    """One thing to measure; `prepare` is run before each measurement and not counted."""

    def __init__(self, name: str, deed: Callable[[], float], prepare: Callable[[], object] | None = None) -> None:
        self.name = name
        self.deed = deed
        self.prepare = prepare
        self.seconds: list[float] = []

    @property
    def median(self) -> float:
        """Return the median of its times in seconds."""
        return statistics.median(self.seconds)


def find_ratio(over: Case, under: Case) -> float:
    """Return how many times as long as `under` the case `over` takes."""
    return statistics.median(above / below for above, below in zip(over.seconds, under.seconds, strict=True))


def find_lowest_ratio(over: Case, under: Case) -> float:
    """Return the same for the lowest times of both."""
    return min(over.seconds) / min(under.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a ratio of two cases should be: at most `limit`, or `at_least` that."""

    over: Case
    under: Case
    limit: float
    at_least: bool = False

    def describe(self) -> str:
        """Return the ratio, the aim, and whether it is met."""
        subject = f"{self.over.name} / {self.under.name}"
        line = describe_aim(subject, find_ratio(self.over, self.under), self.limit, "x", at_least=self.at_least)
        return f"{line}; of the lowest times {find_lowest_ratio(self.over, self.under):.2f}x"


def describe_aim(subject: str, value: float, limit: float, unit: str, *, at_least: bool = False) -> str:
    """Return a value, what it should be, and whether it is."""
    is_met = value >= limit if at_least else value <= limit
    bound = "at least" if at_least else "at most"
    return f"  {'met ' if is_met else 'MISSED'}  {subject}: {value:.2f}{unit}, aim {bound} {limit:g}{unit}"


def take(cases: Sequence[Case], *, rounds: int, is_warming: bool = True) -> None:
    """Measure the cases in turn, after one round that is not counted where it `is_warming`."""
    for number in range(rounds + is_warming):
        for case in cases:
            if case.prepare:
                case.prepare()
            seconds = case.deed()
            if number or not is_warming:
                case.seconds.append(seconds)


def measure(
    title: str, cases: Sequence[Case], *, rounds: int, aims: Sequence[Aim] = (), is_warming: bool = True
) -> None:
    """Measure the cases and print medians, ratios to the first, and how the aims are met."""
    take(cases, rounds=rounds, is_warming=is_warming)
    print(f"\n{title}  ({rounds} round{'s' if rounds > 1 else ''})")
    width = max(len(case.name) for case in cases)
    print(f"  {'':<{width}}  {'median s':>9}  {'min':>7}  {'max':>7}  ratio to the first, of the lowest")
    for case in cases:
        ratio, lowest = find_ratio(case, cases[0]), find_lowest_ratio(case, cases[0])
        row = f"  {case.name:<{width}}  {case.median:>9.4f}  {min(case.seconds):>7.4f}  {max(case.seconds):>7.4f}"
        print(f"{row}  {ratio:>6.2f}x  {lowest:>6.2f}x", flush=True)
    for aim in aims:
        print(aim.describe(), flush=True)
