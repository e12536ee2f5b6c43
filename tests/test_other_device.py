"""What runs on the CPU also runs on another device.

There is no GPU where these tests run as a rule; tests/extractors/test_cuda.py is for where there is one.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

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
