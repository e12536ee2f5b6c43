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
from salvit.results.atomic import atomic_write

_PAGE = """# Performance

Written by `make bench` ({command}) on
{day}: {machine}; torch {torch}, timm {timm}, {threads} thread(s),
random weights, seed 0. A time is a ratio to a reference that is measured beside it, in the same run: the median of
{rounds} rounds, and their range. On a CPU it is the CPU time of the process. On other machines the ratios differ a
little, absolute times a lot.

## Extractors

{model} at {size}×{size}, batch {batch}, {device}. The plain forward pass uses fused attention and builds no graph. A
ratio below 1 means that the method stops before the end of the model. Peak memory comes on top of the model and its
input; each method is measured in a new process. Methods with a limit are measured in {often} rounds.

{extractors}

"salient_attention recording" leaves out the CP decomposition, whose
cost depends on the number of modes and iterations (below).
Relevance LRP cannot be much faster with its rules. Counted in matrix products, the forward pass, three products per
linear layer for the relevance and one for the gradient make 4.2 forward passes with `start_layer=1`. With the forward
pass in float64, which takes twice as long on this CPU, they make 5.2.

{other_make}

{batch32}

### Small models and fast devices

Every method checks the model first and starts more operations than the forward pass. These costs do not depend on the
size of the tensors. They show where the tensors are small, or where a GPU is so fast that it waits for Python. In
this table, {explained} at 32×32 and batch 1, they are nearly everything; larger batches hide them. On a GPU
the host waits for numbers twice per call, to check the images and the maps; AG-CAM three times, LRP up to twelve times,
salient attention also once in ten sweeps of the decomposition, random once per image. This was counted on a simulated
device (`tests/pretend_gpu.py`).

{bookkeeping}

## CP decomposition

Attention of the embedded backbone's last block to enlarged displays of PopOut, float32, CPU, defaults of `cp_als`.
First 6×196×14×14 of rank 32 beside tensorly, image by image with {sweeps} sweeps (`parafac`,
`non_negative_parafac_hals`): above 1 ours is faster. Then 6×300×15×20, the CPU time of one core.

{decomposition}

## Precision of LRP

LRP divides by sums that can be nearly zero, and in float32 such a sum is rounding error. The tables give the
correlation, image by image, between the maps of a float32 model and those of the same weights in float64. A map below
.999 is a different map. `salvit_tiny` on 128 displays of PopOut:

{precision}

{explained} with random weights (its attention is nearly uniform, its sums nearly zero), on 48 images of noise:

{precision_random}

The precision is lost in the forward pass. `precision=double` runs the forward pass in float64 and the relevance in
float32. It is the default of `full_lrp`; the other two compute in the model's precision. Use
`relevance_lrp:precision=double` where single maps matter or the weights are not trained. On photographs:
`python -m benchmarks.precision --images FOLDER --size 240 320`.

## Scoring explanations

{explained} at {size}×{size}, batch {batch}, {device}. The reference is the same forward passes alone, in equal
batches. Scores that alter the same image share its forward pass. The solver of ROAD's fill takes the same time for
every model, so its row has the larger one; for a smaller model the ratio is higher.

{explanation}

## Peers

Other packages that compute the same maps, with {model}, batch {peer_batch}, on the CPU. Above 1, salvit is
faster. grad-cam needs a model whose parameters require gradients, and adds 1e-6 to the denominators of Grad-CAM++, so
that small gradients count less; torchcam's LeGrad needs torchvision's ViT, which gets the same weights. lxt has no
timm ViT: `benchmarks/lxt_vit.py` puts its operations together. lxt, daam-timm-vit and saliency are compared if they
are installed. Attention flow, LOST and TokenCut have no package to compare with.

{peers}

## Scores

Scoring one 480×640 prediction with 332 fixations on the CPU, beside 1.66 million simulated fixations on 5,000 images,
as many as in SALICON's validation set. Differences from pysaliency are absolute. Its shuffled AUC gets the fixations on
the other images as a list that is made beforehand. Only the scores are kept, so memory does not grow with the maps.

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
        "explanation": lambda: explanation.table(small, model, size, options.batch, rounds, options.device),
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
