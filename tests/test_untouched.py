import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from timm.layers import GluMlp
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _push_mode

from salvit import untouched as untouched_module
from salvit.extractors import AGCAM, METHODS, GenericAttention, NormRollout, RawAttention, TokenTM
from salvit.hooks import in_this_thread, may_change_what_is_computed, one_pass_at_a_time
from salvit.lrp.denormals import flushing
from salvit.recording import read_attention, record
from salvit.untouched import lock_of, untouched
from salvit.vit import once_a_pass
from salvit.vit.tokenwise import is_altered, tokens_meet_in_attention_alone
from tests.extractors.conftest import build_vit
from tests.registry import OPTIONS


def _interrupted(model):
    with untouched(model):
        model[0].register_forward_pre_hook(print)
        model.register_forward_hook(print)
        model[0].fused_attn = False
        torch.set_grad_enabled(False)
        _push_mode(TorchFunctionMode())
        raise KeyboardInterrupt


def test_what_an_interrupt_left_behind_is_removed():
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].fused_attn = True
    kept = model[0].register_forward_hook(print)
    with pytest.raises(KeyboardInterrupt):
        _interrupted(model)
    assert torch.is_grad_enabled()
    assert not _get_current_function_mode_stack()
    assert list(model[0]._forward_hooks) == [kept.id]
    assert not model[0]._forward_pre_hooks
    assert not model._forward_hooks
    assert model[0].fused_attn


def test_a_hook_that_takes_the_place_of_another_stays():
    vit, calls = build_vit(), []

    def hook(module, args, output):
        calls.append(1)
        handles.pop().remove()
        handles.append(module.register_forward_hook(hook))

    handles = [vit.blocks[0].register_forward_hook(hook)]
    for _ in range(2):
        METHODS["rollout"]()(vit, torch.randn(1, 3, 32, 32, dtype=torch.float64))
    assert len(calls) == 2
    assert list(vit.blocks[0]._forward_hooks) == [handles[0].id]


def test_hooks_of_another_thread_are_left_to_it():
    """As of a recording that takes no lock, beside an extractor that looks into the same model."""
    vit, images = build_vit(), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    [expected] = read_attention(vit, images, [-1])
    entered, left = threading.Event(), threading.Event()

    def record_slowly():
        with record(vit, [-1]) as recording:
            entered.set()
            left.wait(10)
            vit(images)
            found.append(recording.attention[-1])

    found = []
    thread = threading.Thread(target=record_slowly)
    with untouched(vit):
        thread.start()
        entered.wait(10)
    left.set()
    thread.join()
    torch.testing.assert_close(found[0], expected)


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

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (0, 1)))  # raises what a thread has raised
    assert not wrong


def test_models_that_share_a_trunk_have_one_lock():
    vit, other = build_vit(), build_vit()
    other.blocks = vit.blocks
    assert lock_of(vit) is lock_of(other)
    assert lock_of(vit) is not lock_of(build_vit())


def test_the_model_is_looked_at_while_no_other_thread_is_at_it():
    class Watching(RawAttention):
        def check(self, vit):
            self.held = [lock_of(vit)._is_owned()]
            super().check(vit)

        def _maps(self, vit, images, target):
            self.held.append(lock_of(vit)._is_owned())
            return super()._maps(vit, images, target)

    vit, extractor = build_vit(), Watching()
    extractor(vit, torch.randn(1, 3, 32, 32, dtype=torch.float64))
    assert extractor.held == [True, True]
    assert not lock_of(vit)._is_owned()


def test_passes_that_end_early_are_no_passes_within():
    class Twice(RawAttention):
        def _maps(self, vit, images, target):
            return super()._maps(vit, images, target) - super()._maps(vit, images, target)

    vit = build_vit()
    assert not Twice(block=1)(vit, torch.randn(1, 3, 32, 32, dtype=torch.float64)).any()
    assert not any(module._forward_hooks_always_called for module in vit.modules())


def test_which_hooks_may_change_what_a_thread_computes():
    made = []
    other = threading.Thread(target=lambda: made.append(in_this_thread(print)))
    other.start()
    other.join()
    assert may_change_what_is_computed(print)
    assert may_change_what_is_computed(in_this_thread(print))
    assert not may_change_what_is_computed(made[0])
    vit = build_vit()
    with one_pass_at_a_time(vit, once_a_pass(vit)):
        assert not is_altered(vit)
        assert tokens_meet_in_attention_alone(vit)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_does_not_wait_for_a_thread_that_it_does_not_have():
    vit = build_vit()
    held, release = threading.Event(), threading.Event()
    lock = lock_of(vit)

    def hold():
        with lock, untouched_module._GUARD:
            held.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    child = os.fork()
    if not child:
        os._exit(0 if lock_of(vit).acquire(timeout=5) else 1)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("raw_attention", "patch_embed"),
        ("attention_gradient", "norm"),
        ("agcam", "patch_embed"),
        ("scorecam", "norm"),
    ],
)
@pytest.mark.parametrize("within", ["model", "features", "extractor"])
def test_a_pass_within_a_pass_is_refused(name, place, within):
    """What is kept of the pass, by module, would be that of another image."""
    vit, extractor = build_vit(), METHODS[name](**OPTIONS.get(name, {}))
    images, other = torch.randn(2, 1, 3, 32, 32, dtype=torch.float64)
    expected, logits = extractor(vit, images, 1), vit(images)
    busy = []
    passes = {
        "model": lambda: vit(other),
        "features": lambda: vit.forward_features(other),
        "extractor": lambda: METHODS["raw_attention"]()(vit, other),
    }

    def run_another(module, args, output):
        if not busy:
            busy.append(True)
            try:
                passes[within]()
            finally:
                busy.clear()

    handle = vit.get_submodule(place).register_forward_hook(run_another)
    with pytest.raises(RuntimeError, match="a hook of this VisionTransformer runs it anew"):
        extractor(vit, images, 1)
    assert torch.equal(vit(images), logits)
    handle.remove()
    assert not any(
        module._forward_hooks or module._forward_hooks_always_called or module._forward_pre_hooks
        for module in vit.modules()
    )
    torch.testing.assert_close(extractor(vit, images, 1), expected, rtol=0, atol=0)


def build_gated_vit(**options):
    """A model whose blocks are not standard, so that LRP runs it as timm wrote it."""
    return build_vit(mlp_layer=GluMlp, **options)


class _OwnMlp(GluMlp):
    """Of a class of one's own, which may do anything with tokens."""


def build_own_vit(**options):
    """A model that AG-CAM runs as a whole, with hooks of its own at the attentions."""
    return build_vit(mlp_layer=_OwnMlp, **options)


HOOKED = [
    *(
        METHODS[name]()
        for name in ("agcam", "attention_gradient", "attn_gradcam", "generic_attention", "legrad")
    ),
    NormRollout(),
    METHODS["token_gradcam"](),
    TokenTM(),
]


@pytest.mark.parametrize(
    ("extractor", "build"),
    [
        *((extractor, build_vit) for extractor in HOOKED),
        (METHODS["relevance_lrp"](), build_gated_vit),
        (AGCAM(), build_own_vit),
    ],
    ids=repr,
)
def test_a_model_in_use_by_another_thread_is_explained_all_the_same(extractor, build):
    vit = build()
    images, others = torch.randn(2, 1, 3, 32, 32, dtype=torch.float64)
    expected, logits = extractor(vit, images, 1), vit(others)
    done, wrong = threading.Event(), []

    def serve():
        while not done.is_set():
            if not torch.allclose(vit(others), logits):
                wrong.append("the other thread's logits")

    server = threading.Thread(target=serve)
    server.start()
    try:
        for _ in range(15):
            if not torch.allclose(extractor(vit, images, 1), expected, rtol=1e-9):
                wrong.append("map")
    finally:
        done.set()
        server.join()
    assert not wrong


def test_an_interrupt_is_one_also_where_a_mode_has_lost_its_place():
    with pytest.raises(KeyboardInterrupt), untouched(nn.Linear(2, 2)):  # noqa: PT012 - as torch's modes do it
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("trying to pop from empty mode stack")


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="as it was"), untouched(nn.Linear(2, 2)):
        raise RuntimeError("as it was")


def _fail_while_an_interrupt_is_handled():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with untouched(nn.Linear(2, 2)) as guard, guard:
            raise RuntimeError("as it was") from None


def test_an_error_while_an_interrupt_is_handled_is_left_alone():
    with pytest.raises(RuntimeError, match="as it was"):
        _fail_while_an_interrupt_is_handled()


def test_the_default_device_does_not_matter():
    with torch.device("meta"), untouched(nn.Linear(2, 2)):
        pass


@pytest.mark.parametrize("name", METHODS)
def test_the_default_device_matters_to_no_method(name):
    vit, extractor = build_vit(), METHODS[name](**OPTIONS.get(name, {}))
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected = extractor(vit, images, 1)
    with torch.device("meta"):
        maps = extractor(vit, images, 1)
    assert torch.equal(maps, expected)


class _InterruptAt:
    """Raises KeyboardInterrupt at the n-th Python call, as Ctrl-C may at any."""

    def __init__(self, call):
        self.left = call

    def __call__(self, frame, event, arg):
        self.left -= 1
        if not self.left:
            sys.settrace(None)
            raise KeyboardInterrupt


def _python_calls(run):
    counter = _InterruptAt(0)
    sys.settrace(counter)
    run()
    sys.settrace(None)
    return -counter.left


def _state(vit):
    modules = [
        (list(m._forward_hooks), list(m._forward_pre_hooks), vars(m).get("fused_attn"), m.training)
        for m in vit.modules()
    ]
    stack = _get_current_function_mode_stack()
    return modules, stack, torch.is_grad_enabled(), torch.is_inference_mode_enabled(), flushing()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("name", "build", "places"),
    [
        *(
            (name, build_vit, 40)
            for name in ("generic_attention", "legrad", "input_gradient", "relevance_lrp")
        ),
        *((name, build_gated_vit, 40) for name in ("relevance_lrp", "full_lrp")),
        ("agcam", build_own_vit, 40),
        pytest.param("agcam", build_own_vit, 2000, marks=pytest.mark.slow),
        *(
            pytest.param(name, build_vit, 2000, marks=pytest.mark.slow)
            for name in METHODS
            if name not in ("rise", "salient_attention")
        ),
    ],
)
def test_an_interrupt_at_any_call_leaves_nothing(name, build, places):
    vit, extractor = build(depth=2), METHODS[name]()
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    before = _state(vit)
    calls = _python_calls(lambda: extractor(vit, images, 1))
    interrupted = 0
    for call in range(1, calls, max(1, calls // places)):
        try:
            sys.settrace(_InterruptAt(call))
            extractor(vit, images, 1)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        assert _state(vit) == before, f"interrupted at call {call} of {calls}"
    assert interrupted > min(places, calls) // 2
