"""Times of alternatives, taken in turn so that what else the machine does meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch


class Ratio(NamedTuple):
    """Times of an alternative over those of the reference in the same round.

    Attributes:
        median: over the rounds.
        low: smallest.
        high: largest.
        seconds: median time of the alternative itself.
    """

    median: float
    low: float
    high: float
    seconds: float


def ratios(
    reference: Callable[[], object],
    alternatives: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str,
) -> dict[str, Ratio]:
    """Time every alternative against the reference, once a round, after one round that is not counted.

    Args:
        reference: what the ratios are to.
        alternatives: by name.
        rounds: number of rounds.
        device: "cpu", where a process's own CPU time is taken, or "cuda", where wall time is.
    """
    for run in (reference, *alternatives.values()):
        run()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, run in alternatives.items():
            # The reference anew for each: on a shared machine speed changes within a round.
            base = seconds(reference, device)
            taken = seconds(run, device)
            found[name].append((taken / base, taken))
    return {
        name: Ratio(
            statistics.median(ratio for ratio, _ in pairs),
            min(pairs)[0],
            max(pairs)[0],
            statistics.median(taken for _, taken in pairs),
        )
        for name, pairs in found.items()
    }


def seconds(run: Callable[[], object], device: str) -> float:
    """Time of one call; on a CPU of this process alone, so that other processes do not count."""
    if device == "cpu":
        begin = time.process_time()
        run()
        return time.process_time() - begin
    torch.cuda.synchronize()
    begin = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - begin
