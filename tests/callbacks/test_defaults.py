import sys
from pathlib import Path

import pytest
import torch

from salvit.callbacks.defaults import FreedMemory


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's table of memory")
def test_memory_of_freed_maps_goes_back_to_the_system():
    generator, scores = torch.Generator().manual_seed(0), []
    before = resident_bytes()
    for _ in range(150):  # without the callback, glibc 2.36 keeps 100 MB
        maps = torch.ones(600 * 800), torch.ones(600 * 800, dtype=torch.float64)
        other_size = torch.ones(int(torch.randint(100_000, 900_000, (), generator=generator)))
        scores.append(torch.ones(1))
        ranks = maps[0].sort().values
        del maps, other_size, ranks
    FreedMemory().on_test_batch_end()
    assert resident_bytes() - before < 30e6
