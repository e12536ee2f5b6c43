import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from salvit.modules.schedule import warmup_and_cosine
from salvit.modules.trained import TrainedModule


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


class Linear(TrainedModule):
    def __init__(self, **options):
        super().__init__(**{"lr": 0.1, "weight_decay": 0.3, "warmup_epochs": 2, **options})
        self.layer = torch.nn.Linear(1, 1)
        self.description = {}

    def training_step(self, batch, batch_idx):
        return self.layer(batch).square().mean()


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


@pytest.mark.parametrize(
    ("trainer", "epochs", "warmup", "steps"),
    [
        ({"max_epochs": 5}, 2, 6, 15),
        ({"max_epochs": 5, "accumulate_grad_batches": 2}, 2, 4, 10),
        ({"max_epochs": -1, "max_steps": 10}, 2, 6, 10),
        ({"max_epochs": 3}, 0.67, 2, 9),
        ({"fast_dev_run": True}, 2, 0, 1),
    ],
)
def test_the_warmup_is_counted_in_epochs(rates, trainer, epochs, warmup, steps):
    assert rates(trainer, warmup_epochs=epochs) == expected(warmup, steps)


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 1), (2, 3)])
def test_a_warmup_that_does_not_fit_takes_half_and_says_so(rates, epochs, warmup):
    said = rf"the warm-up of 6 epochs \(18 steps\) does not fit into the training of {3 * epochs} steps"
    with pytest.warns(UserWarning, match=said):
        assert rates({"max_epochs": epochs}, warmup_epochs=6) == expected(warmup=warmup, steps=3 * epochs)


def test_options_that_make_no_schedule(rates):
    for option in ("lr", "weight_decay", "warmup_epochs"):
        for value in (-1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=f"{option}={value:g}"):
                Linear(**{option: value})
    with pytest.raises(ValueError, match="set max_epochs or max_steps"):
        rates({"max_epochs": -1})


@pytest.fixture
def resumed(make_trainer, tmp_path):
    """Rates of training for some epochs, resumed with other options; and the optimizer."""

    def fit(epochs, longer, first=None, **options):
        loader = DataLoader(torch.ones(6, 1), batch_size=2)
        trainer = make_trainer(max_epochs=epochs)
        trainer.fit(Linear(**(first or {})), loader)
        trainer.save_checkpoint(tmp_path / "a.ckpt")
        callback = Rates()
        trainer = make_trainer(max_epochs=longer, callbacks=[callback])
        trainer.fit(Linear(**options), loader, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
        return callback.rates, trainer

    return fit


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 2), (3, 2), (2, 4)])
def test_a_longer_training_goes_on_as_if_it_had_not_stopped(rates, resumed, epochs, warmup):
    """Also where the warm-up did not fit into the shorter one."""
    options = {"warmup_epochs": warmup}
    whole = rates({"max_epochs": 5}, **options)
    assert resumed(epochs, longer=5, first=options, **options)[0] == pytest.approx(whole[3 * epochs :])


def test_the_configuration_wins_over_a_checkpoint(rates, resumed):
    seen, trainer = resumed(2, longer=5, lr=0.02, weight_decay=0.1)
    assert seen == pytest.approx(rates({"max_epochs": 5}, lr=0.02)[6:])
    group = trainer.optimizers[0].param_groups[0]
    assert (group["initial_lr"], group["weight_decay"]) == (0.02, 0.1)
