import threading
import time

import pytest
import torch
from torch import nn

from salvit.extractors import AGCAM, METHODS, GenericAttention, NormRollout
from salvit.untouched import untouched
from tests.extractors.conftest import build_vit


def _interrupted(model):
    with untouched(model):
        model[0].register_forward_pre_hook(print)
        model.register_forward_hook(print)
        model[0].fused_attn = False
        torch.set_grad_enabled(False)
        raise KeyboardInterrupt


def test_what_an_interrupt_left_behind_is_removed():
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].fused_attn = True
    kept = model[0].register_forward_hook(print)
    with pytest.raises(KeyboardInterrupt):
        _interrupted(model)
    assert torch.is_grad_enabled()
    assert list(model[0]._forward_hooks) == [kept.id]
    assert not model[0]._forward_pre_hooks
    assert not model._forward_hooks
    assert model[0].fused_attn


@pytest.mark.parametrize(
    "extractor", [AGCAM(), GenericAttention(), NormRollout(), METHODS["legrad"]()], ids=repr
)
def test_threads_that_share_a_model_do_not_disturb_each_other(extractor):
    vit = build_vit()
    images = [torch.randn(1, 3, 32, 32, dtype=torch.float64) for _ in range(2)]
    expected = [extractor(vit, image, 1) for image in images]
    wrong = []

    def work(which):
        for _ in range(15):
            if not torch.allclose(extractor(vit, images[which], 1), expected[which], rtol=1e-9):
                wrong.append(which)
            time.sleep(0)

    threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
