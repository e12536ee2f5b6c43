"""Neither the number of runs nor that of images fills the memory."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's tables")]

MEBIBYTE = 2**20
FEW, MANY = 256, 2048
RUNS = """
import gc, os, sys
from pathlib import Path

from salvit.callbacks.defaults import return_freed_memory
from salvit.modules import ExplanationModule
from tests.tiny import quiet_trainer, tiny_popout

METHODS = ["rollout", "agcam", "relevance_lrp", "generic_attention", "token_gradcam"]


def state():
    gc.collect()
    return_freed_memory()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))


for number in range(40):
    if number == 10:
        memory, files = state()
    module = ExplanationModule(sys.argv[1], extractors=METHODS)
    quiet_trainer(Path(sys.argv[2])).test(module, tiny_popout(test_size=8), verbose=False)
    del module
more, still = state()
print("found", more - memory, still - files)
"""
PEAK = """
import resource, sys

from salvit.__main__ import main

main(sys.argv[1:])
print("found", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def found(program, *arguments):
    """The numbers that a process prints at its end: pytest would keep what it logs."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return [int(number) for number in ended.stdout.rpartition("found ")[2].split()]


def test_runs_in_one_process(tmp_path, vit_file):
    memory, files = found(RUNS, vit_file(), tmp_path)
    print(f"{memory / 30 / MEBIBYTE:.3f} MiB a run")
    assert memory < 30 * 0.5 * MEBIBYTE
    assert files == 0


def test_images_of_one_run(tmp_path, vit_file):
    options = (
        *("test", "--model", "SaliencyModule", "--model.vit", vit_file(), "--untrained", "true"),
        *("--wandb", "false", "--runs", tmp_path, "--trainer.accelerator", "cpu"),
        *("--data", "PopOutDataModule", "--data.image_size", "32", "--data.num_workers", "0"),
        *("--data.train_size", "8", "--data.val_size", "2", "--trainer.enable_checkpointing", "false"),
        *("--trainer.callbacks", "salvit.callbacks.scores.Scores", "--data.test_size"),
    )
    [few], [many] = (found(PEAK, *options, images) for images in (FEW, MANY))
    print(f"{FEW} images: {few / MEBIBYTE:.0f} MiB, {MANY}: {many / MEBIBYTE:.0f} MiB")
    assert many - few < 32 * MEBIBYTE
