"""Peak memory of one extraction, in a separate process, where nothing freed earlier can be reused unseen.

python -m benchmarks.memory MODEL SIZE BATCH DEVICE METHOD     prints MiB
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import salvit


def peak_mib(model: str, size: int, batch: int, device: str, method: str, **options: Any) -> float:
    """Peak memory in MiB beyond the model and its input; `method` "forward" is the model alone."""
    arguments = [model, str(size), str(batch), device, method, json.dumps(options)]
    command = [sys.executable, "-m", "benchmarks.memory", *arguments]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main(model: str, size: str, batch: str, device: str, method: str, options: str = "{}") -> None:
    """Measure once, and print."""
    vit = salvit.load_vit(model, pretrained=False, img_size=int(size)).to(device)
    images = torch.randn(int(batch), 3, int(size), int(size), device=device)
    # One image first: kernels' own buffers belong to neither.
    _run(vit, images[:1], method, json.loads(options))
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        _run(vit, images, method, json.loads(options))
        print((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status("VmRSS")
    _run(vit, images, method, json.loads(options))
    print((_status("VmHWM") - before) / 1024)


def _run(vit: Any, images: torch.Tensor, method: str, options: dict[str, Any]) -> None:
    if method == "forward":
        with torch.no_grad():
            vit(images)
    else:
        salvit.extract(vit, images, method, target=0, **options)


def _status(field: str) -> int:
    """A field of the process's status in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main(*sys.argv[1:])
