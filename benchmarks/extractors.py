"""Every extractor against the model's plain forward pass with its fused attention, at the same batch."""

from collections.abc import Callable
from functools import partial

import torch
from rich.progress import track

import salvit
from benchmarks.memory import peak_mib
from benchmarks.timing import Ratio, ratios
from salvit.extractors import METHODS, parse_method
from salvit.extractors.recording import read_attention
from salvit.vit import ViT

_RECORDING = "salient_attention recording"  # its attention alone, without the decomposition
LIMITS = {
    "raw_attention": 1.05,
    _RECORDING: 1.05,
    "rollout": 1.3,
    "agcam": 1.15,
    "generic_attention": 2.2,
    "attention_gradient": 2.2,
    "attention_gradient:block=mean": 2.2,
    "relevance_lrp": 4.5,
    "partial_lrp": 1.1,
    "attn_lrp": 3.0,
    "attn_lrp:of=pixels": 3.0,
}
"""Ratios not to be exceeded, ViT-B/16 at 224."""
OFTEN = 3
"""How many times as many rounds methods with a limit are measured: single ones vary by 10 % and more."""
_LEFT_OUT = {"random", "center_prior", "rise", "scorecam", "integrated_gradients", "smoothgrad", "xrai"}
"""With their default options: no forward pass, or very many."""
_WITH_OPTIONS = {
    "attention_gradient:block=mean",
    "attn_lrp:of=attention",
    "integrated_gradients:steps=5",
    "relevance_lrp:precision=double",
    "smoothgrad:samples=5",
}


def names() -> list[str]:
    """Methods measured, those with a limit first."""
    rest = sorted({*METHODS, *_WITH_OPTIONS} - set(LIMITS) - _LEFT_OUT)
    return [*LIMITS, *rest]


def table(model: str, size: int, batch: int, rounds: int, device: str, memory: bool = True) -> str:
    """A Markdown table of cost ratios and peak memory per image."""
    vit = salvit.load_vit(model, pretrained=False, img_size=size).to(device)
    torch.manual_seed(0)
    images = torch.randn(batch, 3, size, size, device=device)
    forward, runs = partial(_forward, vit, images), _runs(vit, images)
    limited = {name: runs.pop(name) for name in LIMITS}
    rows = ratios(forward, limited, OFTEN * rounds, device) | ratios(forward, runs, rounds, device)
    peaks: dict[str, float] = {}
    if memory:
        if device == "cuda":
            torch.cuda.empty_cache()  # each method is measured in another process
        measured = [name for name in ("forward", *rows) if name != _RECORDING]
        for name in track(measured, "peak memory", transient=True):
            peaks[name] = peak_mib(model, size, batch, device, name) / batch
    lines = [
        "| method | time ÷ forward | range | limit | peak MiB an image |",
        "|---|---|---|---|---|",
        f"| plain forward | 1 | | | {_mib(peaks, 'forward')} |",
        *(_line(name, ratio, peaks) for name, ratio in rows.items()),
    ]
    return "\n".join(lines)


def large_batch(model: str, size: int, device: str, batch: int = 32) -> str:
    """A sentence with relevance LRP's peak memory at a batch that would not fit if every layer were kept."""
    peak = peak_mib(model, size, batch, device, "relevance_lrp")
    return f"Relevance LRP of {batch} images at once peaks at {peak / 1024:.2f} GiB beyond the model (limit: 8 GiB)."


def bookkeeping(model: str, rounds: int, device: str) -> str:
    """A Markdown table of cost ratios where the tensors are so small that only calls count."""
    vit = salvit.load_vit(model, pretrained=False, img_size=32).to(device)
    images = torch.randn(1, 3, 32, 32, device=device)
    runs = _runs(vit, images)
    del runs["salient_attention"]  # four patches have no 32 modes
    found = ratios(partial(_forward, vit, images), runs, rounds, device)
    lines = ["| method | time ÷ forward | range |", "|---|---|---|"]
    lines += [
        f"| {name} | {one.median:.1f} | {one.low:.1f} … {one.high:.1f} |" for name, one in found.items()
    ]
    return "\n".join(lines)


def other_make(
    size: int, batch: int, rounds: int, device: str, model: str = "vit_base_patch16_rope_224"
) -> str:
    """A sentence with relevance LRP's cost on a model with RoPE."""
    vit = salvit.load_vit(model, pretrained=False, img_size=size).to(device)
    images = torch.randn(batch, 3, size, size, device=device)
    run = partial(METHODS["relevance_lrp"](), vit, images, 0)
    ratio = ratios(partial(_forward, vit, images), {"lrp": run}, rounds, device)["lrp"]
    return f"For {model}, a model with RoPE, relevance LRP takes {ratio.median:.1f} forward passes (batch {batch})."


def _forward(vit: ViT, images: torch.Tensor) -> None:
    with torch.no_grad():
        vit(images)


def _record(vit: ViT, images: torch.Tensor) -> None:
    with torch.no_grad():
        read_attention(vit, images, [-1])


def _runs(vit: ViT, images: torch.Tensor) -> dict[str, Callable[[], object]]:
    target = torch.zeros(len(images), dtype=torch.long, device=images.device)
    methods = {
        name: partial(parse_method(name), vit, images, target) for name in names() if name != _RECORDING
    }
    return methods | {_RECORDING: partial(_record, vit, images)}


def _line(name: str, ratio: Ratio, peaks: dict[str, float]) -> str:
    limit = LIMITS.get(name)
    shown = "" if limit is None else f"{limit:g}" + ("" if ratio.median <= limit else " (exceeded)")
    spread = f"{ratio.low:.2f} … {ratio.high:.2f}"
    return f"| {name} | {ratio.median:.2f} | {spread} | {shown} | {_mib(peaks, name)} |"


def _mib(peaks: dict[str, float], name: str) -> str:
    return f"{peaks[name]:.0f}" if name in peaks else ""
