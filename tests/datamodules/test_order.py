from collections import Counter
from itertools import chain

import pytest

from datamodules.base.order import TrainingOrder


def order(epoch=0, **options):
    made = TrainingOrder(**{"images": 10, "copies": 2, "batch_size": 4, **options})
    made.set_epoch(epoch)
    return list(made)


def test_every_image_comes_once_an_epoch_in_another_order(monkeypatch):
    first, second = order(epoch=0), order(epoch=1)
    for epoch in (first, second):
        assert sorted(index % 10 for index in epoch) == list(range(10))
    assert [index % 10 for index in first] != [index % 10 for index in second]
    assert order(epoch=1) == second
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    assert order(epoch=0) not in (first, second)


def test_each_copy_is_taken_in_half_of_the_epochs():
    taken = Counter(index for epoch in range(200) for index in order(epoch))
    assert all(70 < taken[index] < 130 for index in range(20))


@pytest.mark.parametrize(("processes", "size"), [(2, 2), (4, 1)])
def test_processes_share_the_batches_of_one(processes, size):
    alone = order(epoch=3)
    shares = [order(3, batch_size=size, rank=rank, processes=processes) for rank in range(processes)]
    for begin in range(0, 8, 4):  # the whole batches
        parts = [share[begin // processes : (begin + 4) // processes] for share in shares]
        assert sorted(chain(*parts)) == sorted(alone[begin : begin + 4])
    last = [share[8 // processes :] for share in shares]
    assert {len(part) for part in last} == {-(-2 // processes)}  # equal shares, if images are repeated
    assert set(chain(*last)) == set(alone[8:])


def test_a_resumed_epoch_leaves_out_what_was_trained():
    assert order(epoch=2, first_batch=lambda: 2) == order(epoch=2)[8:]
