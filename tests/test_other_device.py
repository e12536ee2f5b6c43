"""What runs on the CPU also runs on another device.

There is no GPU where these tests run as a rule; tests/extractors/test_cuda.py is for where there is one.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from timm.layers import GluMlp
from torch.utils import backend_registration

from salvit.extractors import METHODS
from tests.extractors.conftest import build_vit
from tests.registry import OPTIONS

with_pretended_gpu = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot be given a device in Python",
)


def in_another_process(marker):
    tests = Path(__file__).with_name("on_pretend_gpu.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marker, str(tests)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]


@with_pretended_gpu
def test_on_a_pretended_gpu():
    in_another_process("not slow")


@with_pretended_gpu
@pytest.mark.slow
def test_every_model_on_a_pretended_gpu():
    in_another_process("slow")


@pytest.mark.parametrize("options", [{}, {"mlp_layer": GluMlp}], ids=["standard", "gated"])
@pytest.mark.parametrize("name", METHODS)
def test_gradients_may_flow_in_another_thread(monkeypatch, name, options):
    """As they do on a GPU, where autograd works in a thread of its own, without this one's modes and hooks."""
    vit, extractor = build_vit(**options), METHODS[name](**OPTIONS.get(name, {}))
    images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    expected, gradients = extractor(vit, images, 2), torch.autograd.grad
    with ThreadPoolExecutor(1) as other:
        monkeypatch.setattr(
            torch.autograd, "grad", lambda *args, **kw: other.submit(gradients, *args, **kw).result()
        )
        assert torch.equal(extractor(vit, images, 2), expected)
