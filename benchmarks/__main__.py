"""`python -m benchmarks`: measure, and write docs/performance.md."""

import argparse
import platform
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import timm
import torch

import salvit
from benchmarks import decomposition, explanation, extractors, metrics, peers, precision
from salvit.files import atomic_write

_PAGE = """# Performance

Written by `make bench` ({command}) on
{day}: {machine}; torch {torch}, timm {timm}, {threads} thread(s),
random weights, seed 0. Times are ratios measured in turn within one run, the reference anew beside every measurement:
the median of {rounds} rounds, and their range. On a CPU it is the process's own CPU time. On other machines the
ratios differ a little, absolute times a lot.

## Extractors

{model} at {size}×{size}, batch {batch}, {device}. The plain forward pass uses fused attention and no graph. A ratio
below 1 means that the method stops before the model's end. Peak memory is what comes on top of the model and its
input, each method in a process of its own. Methods with a limit are measured {often} rounds.

{extractors}

The CP decomposition that salient attention adds to the recording depends on the number of modes and iterations; its
cost is below.
Relevance LRP cannot be much faster than this with its rules: counted in products of matrices, the forward pass, three
products per linear layer for the relevance and one for the gradient make 4.2 forward passes with `start_layer=1`, and
5.2 where the forward pass is in float64, which on this CPU takes two of float32.
Models whose blocks are not standard (RoPE, gated MLPs, BEiT, …) are run as timm wrote them, with the memory of a whole
graph: {other_make}

{batch32}

### Small models and fast devices

What a method does around the tensors (it looks at the model before and after, and starts more operations than the
forward pass does) costs the same however large they are. It shows where they are small, or a GPU is so fast that it
waits for Python: {explained} at 32×32, batch 1, of which it is nearly all. Larger batches hide it. On a
GPU the host waits for numbers twice a call, to check the images and the maps (LRP three times, salient attention also
once in ten sweeps of the decomposition, random once an image), and nowhere in between: counted on a device that the
tests pretend to have (`tests/pretend_gpu.py`).

{bookkeeping}

## CP decomposition

Attention of the embedded backbone's last block to enlarged displays of PopOut, float32, CPU, defaults of `cp_als`.
First 6×196×14×14 of rank 32 beside tensorly, image by image with {sweeps} sweeps (`parafac`,
`non_negative_parafac_hals`): above 1 ours is faster. Then 6×300×15×20, the CPU time of one core.

{decomposition}

## Precision of LRP

Its rules divide by sums that may nearly vanish, and in float32 what such a sum leaves is rounding. Maps of a float32
model beside those of the same weights in float64, image by image; a map below .999 is another map. `salvit_tiny` on 128
displays of PopOut:

{precision}

{explained} with random weights, whose attention is nearly uniform and its sums nearly zero, on 48 images of noise:

{precision_random}

What is lost is lost in the forward pass. `precision="double"` runs that in float64, and lets relevance flow in float32
beside it. It is the default of `FullLRP`; `RelevanceLRP` and `PartialLRP` compute in the model's precision, so take
`RelevanceLRP(precision="double")` where single maps matter, or weights are not trained. On photographs:
`python -m benchmarks.precision --images FOLDER --size 240 320`.

## Scoring explanations

{explained} at {size}×{size}, batch {batch}, {device}. The reference is the forward passes alone, in the same batches.

{explanation}

## Peers

Packages from the index that do the same thing, {model}, batch {peer_batch}, CPU. Above 1 ours is faster. grad-cam needs
a model whose parameters require gradients, torchcam's LeGrad one of torchvision's (the weights are the same).

{peers}

## Scores

Of one 480×640 prediction with 332 fixations, among 1.66 million of 5,000 images (simulated), CPU: as many as SALICON's
validation set has. Differences from pysaliency, where it is installed, are absolute; its shuffled AUC is given the
other images' fixations as a list made beforehand. Scores are kept, nothing else: memory does not grow with images.

{scores}
"""


def main() -> None:
    """Parse the command line, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--model", default="vit_base_patch16_224", help="timm name of a model with random weights"
    )
    parser.add_argument(
        "--small-model", default="vit_tiny_patch16_224", help="the same, for perturbation curves"
    )
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images at once")
    parser.add_argument("--rounds", type=int, default=3, help="times that each pair is measured")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="of torch, on the CPU")
    parser.add_argument("--out", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = dict.fromkeys(sections(options), "(not measured: the run was cut short)")
    for name, measure in sections(options).items():
        print(f"measuring: {name}", file=sys.stderr)
        found[name] = measure()
        # Written anew after each, so that what fails or is interrupted takes nothing along.
        with atomic_write(options.out) as file:
            file.write(page(options, found).encode())
    print(page(options, found))


def sections(options: argparse.Namespace) -> dict[str, Callable[[], str]]:
    """What is measured, the quick and the fragile first: peers may be missing or broken."""
    model, small, size, rounds = options.model, options.small_model, options.size, options.rounds
    few = min(options.batch, 4)
    return {
        "scores": lambda: metrics.table(rounds),
        "peers": lambda: peers.table(model, size, few, rounds),
        "other_make": lambda: extractors.other_make(size, few, rounds, options.device),
        "batch32": lambda: extractors.large_batch(model, size, options.device),
        "explanation": lambda: explanation.table(small, size, options.batch, rounds, options.device),
        "decomposition": lambda: decomposition.table(rounds),
        "precision": lambda: precision.table(salvit.load_vit("salvit_tiny"), precision.displays(128)),
        "precision_random": lambda: _random_precision(small, size),
        "bookkeeping": lambda: extractors.bookkeeping(small, 10 * rounds, options.device),
        "extractors": lambda: extractors.table(model, size, options.batch, rounds, options.device),
    }


def page(options: argparse.Namespace, found: Mapping[str, str]) -> str:
    """The page with what was found by section."""
    return _PAGE.format(
        command=f"--model {options.model} --size {options.size} --batch {options.batch} --rounds {options.rounds} "
        f"--device {options.device}",
        day=date.today().isoformat(),
        machine=_machine(options.device),
        torch=torch.__version__,
        timm=timm.__version__,
        threads=options.threads,
        rounds=options.rounds,
        sweeps=decomposition.SWEEPS,
        often=extractors.OFTEN * options.rounds,
        model=options.model,
        size=options.size,
        batch=options.batch,
        device=options.device.upper(),
        explained=options.small_model,
        peer_batch=min(options.batch, 4),
        **found,
    )


def _random_precision(model: str, size: int) -> str:
    torch.manual_seed(0)
    vit = salvit.load_vit(model, pretrained=False, img_size=size)
    return precision.table(vit, torch.rand(48, 3, size, size))


def _machine(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    kind = names[0].partition(": ")[2] if names else platform.processor()
    return f"{len(names)} shared cores of {kind}"


if __name__ == "__main__":
    main()
