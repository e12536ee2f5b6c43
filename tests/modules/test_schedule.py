import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule
from torch.utils.data import DataLoader

from salvit.modules.schedule import adamw_with_warmup, keep_configured, warmup_and_cosine


@given(warmup=st.integers(0, 50), cosine=st.integers(1, 50))
def test_shape(warmup, cosine):
    steps = warmup + cosine
    shares = [warmup_and_cosine(step, warmup, steps) for step in range(steps + 1)]
    assert all(share > 0 for share in shares[:-1])
    assert shares[warmup] == 1
    assert abs(shares[-1]) < 1e-12
    assert shares[: warmup + 1] == sorted(shares[: warmup + 1])
    assert shares[warmup:] == sorted(shares[warmup:], reverse=True)
    rises = [after - before for before, after in pairwise(shares[: warmup + 1])]
    assert all(math.isclose(rise, shares[0]) for rise in rises)


class Linear(LightningModule):
    def __init__(self, **options):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.options = {"lr": 0.1, "weight_decay": 0.3, "warmup_epochs": 2, **options}

    def training_step(self, batch, batch_idx):
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return adamw_with_warmup(self.layer.parameters(), self.trainer, **self.options)


class Rates(Callback):
    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.fixture
def rates(make_trainer):
    def fit(trainer=None, **options):
        callback = Rates()
        loader = DataLoader(torch.ones(6, 1), batch_size=2)
        make_trainer(callbacks=[callback], **(trainer or {})).fit(Linear(**options), loader)
        return callback.rates

    return fit


def expected(warmup, steps):
    return pytest.approx([0.1 * warmup_and_cosine(step, warmup, steps) for step in range(steps)])


def test_steps_are_counted_from_epochs(rates):
    assert rates({"max_epochs": 5}) == expected(warmup=6, steps=15)


def test_accumulated_batches_are_one_step(rates):
    assert rates({"max_epochs": 5, "accumulate_grad_batches": 2}) == expected(warmup=4, steps=10)


def test_a_limit_in_steps(rates):
    assert rates({"max_epochs": -1, "max_steps": 10}) == expected(warmup=6, steps=10)


def test_part_of_an_epoch(rates):
    assert rates({"max_epochs": 3}, warmup_epochs=0.67) == expected(warmup=2, steps=9)


def test_no_warmup_in_a_dry_run(rates):
    assert rates({"fast_dev_run": True}) == [0.1]


def test_warmup_longer_than_training(rates):
    with pytest.raises(
        ValueError, match=r"warmup_epochs=2 \(6 steps\) does not fit into the training of 3 steps"
    ):
        rates({"max_epochs": 1})


def test_negative_warmup(rates):
    with pytest.raises(ValueError, match="warmup_epochs=-1"):
        rates(warmup_epochs=-1)


def test_training_without_an_end(rates):
    with pytest.raises(ValueError, match="set max_epochs or max_steps"):
        rates({"max_epochs": -1})


def test_the_configuration_wins_over_a_checkpoint():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=0.1, weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    checkpoint = {"optimizer_states": [optimizer.state_dict()], "lr_schedulers": [schedule.state_dict()]}
    keep_configured(checkpoint, lr=0.02, weight_decay=0.1)
    optimizer.load_state_dict(checkpoint["optimizer_states"][0])
    schedule.load_state_dict(checkpoint["lr_schedulers"][0])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
