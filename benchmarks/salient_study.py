"""The readings of Salient Attention beside raw attention on OSIE: `python -m benchmarks.salient_study --root OSIE`.

Every row is a small decoder trained on the maps of one reading: four convolutions on the patch grid, without the
resolution doublings of the full decoder, so that hundreds can be compared. Scores are at a quarter of OSIE's
size. They are lower than those of full training, and comparable with each other. A row that is in the CSV file
is not computed again, so an interrupted study goes on where it stopped.
"""

import argparse
import csv
import io
import math
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from datamodules import OSIEDataModule
from salvit.cli.failure import one_clear_error
from salvit.cli.interrupt import interruptible
from salvit.extractors import SalientAttention
from salvit.extractors.base import patches_to_grid
from salvit.extractors.cp import cp_als
from salvit.extractors.recording import read_attention
from salvit.metrics.functional import cc, fixation_counts, nss, shuffled_auc
from salvit.modules.decoder import SaliencyDecoder
from salvit.modules.losses import SaliencyLoss
from salvit.modules.schedule import warmup_and_cosine
from salvit.results.atomic import atomic_write
from salvit.vit import ViT, load_vit, normalize, num_prefix_tokens

READINGS: dict[str, dict[str, Any]] = {
    "locations, by weight": {"order": "weight"},
    "locations, by value": {},
    "locations, merged": {"merge": True},
    "distinct, by weight": {"select": "distinct", "order": "weight"},
    "distinct, weighted heads, by weight": {"select": "distinct", "heads": "weighted", "order": "weight"},
    "distinct, by position": {"select": "distinct", "order": "position"},
    "distinct, by value": {"select": "distinct"},
    "distinct, by value per head": {"select": "distinct", "heads": "each"},
    "distinct, attended, by weight": {"select": "distinct", "attended": True, "order": "weight"},
    "distinct, merged per head": {"select": "distinct", "heads": "each", "merge": True},
    "components, by weight": {"select": "components", "order": "weight"},
    "non-negative distinct, by weight": {"select": "distinct", "nonnegative": True, "order": "weight"},
    "non-negative distinct, by value": {"select": "distinct", "nonnegative": True},
    "non-negative distinct, merged per head": {
        "select": "distinct",
        "nonnegative": True,
        "heads": "each",
        "merge": True,
    },
    "non-negative components, by weight": {"select": "components", "nonnegative": True, "order": "weight"},
    "non-negative components, by value": {"select": "components", "nonnegative": True},
}
_WIDE = "distinct, by value per head"  # k times as many maps as heads: of few modes of the last block only
_WIDEST = 32
RAW = "raw attention"
RECEIVED = "attention received"
TOGETHER = "raw attention and distinct, merged per head"
_GROWING = (
    RAW,
    RECEIVED,
    "locations, by weight",
    "locations, by value",
    "distinct, by weight",
    "distinct, by value",
    "distinct, merged per head",
)
_NO_K = 0  # of rows that have no modes
_SCORES = ("CC", "NSS", "sAUC")
_BATCH = 16
_WARMUP = 0.2  # share of the steps
_LR = 3e-3
_SHRINK = 4  # of images, for the scores


class Row(NamedTuple):
    """What one decoder is trained on: `k` is 0 where there are no modes, `train` the number of training images."""

    backbone: str
    blocks: str
    reading: str
    k: int
    train: int
    seed: int


Scores = dict[Row, tuple[float, ...]]


class Truth(NamedTuple):
    """What people did: densities [n, H, W] of the scores' size, and fixations in its pixels."""

    density: Tensor
    fixations: list[Tensor]

    def first(self, count: int) -> "Truth":
        """That of the first images."""
        return Truth(self.density[:count], self.fixations[:count])


class Images(NamedTuple):
    """Training images, then validation images, for one backbone; `train` says how many are of the first kind."""

    pixels: Tensor
    truth: Truth
    train: int


class Plan(NamedTuple):
    """What is compared; see the options of the command."""

    ks: Sequence[int]
    all_ks: Sequence[int]
    seeds: int
    train: int
    growth: Sequence[int]

    def groups(self, backbone: str) -> Iterator[tuple[str, int, list[Row]]]:
        """Rows that share their decompositions: blocks, k, rows. The paper's k and its block come first."""
        for blocks, ks in (("last", self.ks), ("all", self.all_ks)):
            for k in sorted(ks, key=_paper_first):
                names = dict.fromkeys((*READINGS, TOGETHER), k)
                if blocks == "all" or k > _WIDEST:
                    del names[_WIDE]
                if k == min(ks, key=_paper_first):
                    names = {RAW: _NO_K, RECEIVED: _NO_K} | names
                yield blocks, k, self._rows(backbone, blocks, names, [self.train])
        k = min(self.ks, key=_paper_first)
        names = {name: _NO_K if name in (RAW, RECEIVED) else k for name in _GROWING}
        yield (
            "last",
            k,
            self._rows(backbone, "last", names, [train for train in self.growth if train != self.train]),
        )

    def _rows(self, backbone: str, blocks: str, names: Mapping[str, int], trains: Sequence[int]) -> list[Row]:
        return [
            Row(backbone, blocks, name, k, train, seed)
            for name, k in names.items()
            for train in trains
            for seed in range(self.seeds)
        ]


def _paper_first(k: int) -> tuple[bool, int]:
    return k != 32, k


def load_images(root: Path | None, size: tuple[int, int], train: int, val: int, vit: ViT) -> Images:
    """Images and ground truth of OSIE as published.

    Args:
        root: folder of OSIE; by default that in SALVIT_OSIE_ROOT.
        size: height and width of the images in pixels.
        train: number of training images.
        val: number of validation images.
        vit: the images are normalised for it.
    """
    data = OSIEDataModule(root, image_size=size, num_workers=0)
    pixels, densities, fixations = [], [], []
    for split, count in (("train", train), ("val", val)):
        for index in range(count):
            sample = data.dataset(split)[index]  # type: ignore[arg-type]
            densities.append(F.avg_pool2d(sample["density"][None], _SHRINK)[0])
            shape = torch.tensor(densities[-1].shape)
            fixations.append((sample["fixations"] / _SHRINK).floor().minimum(shape.flip(0) - 1))
            pixels.append(sample["image"])
    return Images(normalize(vit, torch.stack(pixels)), Truth(torch.stack(densities), fixations), train)


def all_maps(vit: ViT, images: Images, blocks: str, k: int, rows: Sequence[Row]) -> dict[str, Tensor]:
    """Maps [n, K, h, w] of every reading that the rows name, in half precision.

    Args:
        vit: the backbone.
        images: of which as many training images are taken as a row needs, and all others.
        blocks: "last" or "all".
        k: number of modes.
        rows: what is to be trained.
    """
    names = _readings(rows)
    most = max(row.train for row in rows)
    chosen = torch.cat([images.pixels[:most], images.pixels[images.train :]])
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    indices = [-1] if blocks == "last" else list(range(len(vit.blocks)))
    progress = Console(stderr=True)
    for batch in track(chosen.split(8), f"maps, {blocks}, k = {k}", console=progress, transient=True):
        found = [
            _block_maps(vit, batch, attention, k, names) for attention in read_attention(vit, batch, indices)
        ]
        for name in names:
            parts[name].append(torch.cat([maps[name] for maps in found], dim=1).half())
    return {name: torch.cat(maps) for name, maps in parts.items()}


def _block_maps(
    vit: ViT, images: Tensor, attention: Tensor, k: int, names: Sequence[str]
) -> dict[str, Tensor]:
    """The maps of one block."""
    prefix = num_prefix_tokens(vit)
    class_row, patches = (
        patches_to_grid(vit, images, rows) for rows in (attention[:, :, 0], attention[:, :, prefix:])
    )
    maps = {RAW: class_row, RECEIVED: patches.mean(dim=2)}
    extractors = {
        name: SalientAttention(k=k, **options)
        for name, options in READINGS.items()
        if name in (*names, *_needed(names))
    }
    for nonnegative in {extractor.nonnegative for extractor in extractors.values()}:
        fit = cp_als(patches, k, nonnegative=nonnegative)
        for name, extractor in extractors.items():
            if extractor.nonnegative == nonnegative:
                maps[name] = extractor.of_fit(patches, fit)
    if TOGETHER in names:
        maps[TOGETHER] = torch.cat([class_row, maps[TOGETHER.removeprefix(f"{RAW} and ")]], dim=1)
    return maps


def _needed(names: Sequence[str]) -> list[str]:
    return [TOGETHER.removeprefix(f"{RAW} and ")] if TOGETHER in names else []


def train_and_score(
    maps: Tensor, val_maps: Tensor, truth: Truth, val_truth: Truth, epochs: int, seed: int
) -> list[float]:
    """Train a decoder and score it.

    Args:
        maps: [n, K, h, w] of the training images.
        val_maps: [m, K, h, w] of the others.
        truth: of the training images.
        val_truth: of the others.
        epochs: of training.
        seed: of the decoder's start and the order of images.

    Returns:
        Mean CC, NSS and sAUC of the others.
    """
    torch.manual_seed(seed)
    grid = (maps.shape[2], maps.shape[3])
    decoder = SaliencyDecoder(maps.shape[1], center_bias=True, doublings=0)
    target = F.adaptive_avg_pool2d(truth.density[:, None], grid)[:, 0]
    loss, optimizer = SaliencyLoss(), torch.optim.AdamW(decoder.parameters(), lr=_LR)
    steps = epochs * -(-len(maps) // _BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_and_cosine(step, round(_WARMUP * steps), steps)
    )
    for _ in range(epochs):
        for batch in torch.randperm(len(maps)).split(_BATCH):
            optimizer.zero_grad()
            loss(decoder(maps[batch].float(), grid), target[batch]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        small = decoder(val_maps.float(), grid)
    height, width = val_truth.density.shape[1:]
    pred = F.interpolate(small[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
    pool = fixation_counts(val_truth.fixations, [(height, width)] * len(pred), (height, width))
    scores = (
        cc(pred, val_truth.density),
        nss(pred, val_truth.fixations),
        shuffled_auc(pred, val_truth.fixations, pool),
    )
    return [float(score.double().nanmean()) for score in scores]


def study(vit: ViT, backbone: str, images: Images, plan: Plan, epochs: int, out: Path) -> None:
    """Compute the rows that are missing, and write table, figure and page after each group.

    Args:
        vit: the backbone.
        backbone: its name in the table.
        images: of OSIE, at its size.
        plan: what is compared.
        epochs: of training.
        out: folder of the results.
    """
    scores = read_scores(out)
    val = Truth(images.truth.density[images.train :], images.truth.fixations[images.train :])
    for blocks, k, rows in plan.groups(backbone):
        missing = [row for row in rows if row not in scores]
        if not missing:
            continue
        begin = time.monotonic()
        maps = all_maps(vit, images, blocks, k, missing)
        _say(f"{backbone}, {blocks}, k = {k}: maps in {time.monotonic() - begin:.0f} s")
        for count, row in enumerate(missing, 1):
            own = maps[row.reading]
            # Validation images come after all that were taken for training.
            taken = len(own) - len(val.density)
            truth = images.truth.first(row.train)
            scores[row] = tuple(train_and_score(own[: row.train], own[taken:], truth, val, epochs, row.seed))
            _say(
                f"  {count}/{len(missing)} {row.reading}, {row.train} images, seed {row.seed}: NSS {scores[row][1]:.3f}"
            )
            write_scores(out, scores)
        write_page(out, scores, plan, len(val.density), epochs)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def read_scores(out: Path) -> Scores:
    """The rows that are in the CSV file of a folder; none if there is no such file."""
    path = out / "scores.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            Row(
                line["backbone"],
                line["blocks"],
                line["reading"],
                *(int(line[name]) for name in Row._fields[3:]),
            ): tuple(float(line[name]) for name in _SCORES)
            for line in csv.DictReader(file)
        }


def write_scores(out: Path, scores: Scores) -> None:
    """Write the rows as a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*Row._fields, *_SCORES])
    writer.writerows([*row, *(f"{score:.5f}" for score in found)] for row, found in scores.items())
    with atomic_write(out / "scores.csv") as file:
        file.write(text.getvalue().encode())


def summarised(scores: Scores) -> dict[Row, list[tuple[float, float]]]:
    """Mean and standard deviation over the seeds of each score; a row's seed is their number.

    One seed has no deviation: NaN.
    """
    by_row: dict[Row, list[tuple[float, ...]]] = {}
    for row, found in scores.items():
        by_row.setdefault(row._replace(seed=0), []).append(found)
    return {
        row._replace(seed=len(found)): [
            (statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan)
            for values in zip(*found, strict=True)
        ]
        for row, found in by_row.items()
    }


def write_page(out: Path, scores: Scores, plan: Plan, val: int, epochs: int) -> None:
    """Write the tables as Markdown, and the figure."""
    summary = summarised(scores)
    sections = [
        f"OSIE as published, decoders on the patch grid, {epochs} epochs, {val} validation images scored at 150×200, "
        "mean ± standard deviation over the seeds."
    ]
    for backbone in dict.fromkeys(row.backbone for row in summary):
        for blocks in ("last", "all"):
            chosen = {
                row: s
                for row, s in summary.items()
                if row[:2] == (backbone, blocks) and row.train == plan.train
            }
            if chosen:
                sections.append(
                    f"## {backbone}, {blocks} block{'s' * (blocks == 'all')}, {plan.train} training images"
                )
                sections.append(_nss_by_k(chosen))
                sections.append(_all_scores(chosen))
        grown = {
            row: s for row, s in summary.items() if row[:2] == (backbone, "last") and row.reading in _GROWING
        }
        counts = sorted({row.train for row in grown})
        if len(counts) > 1:
            sections += [f"## {backbone}, last block, NSS by training images", _nss_by_train(grown, counts)]
    with atomic_write(out / "study.md") as file:
        file.write("\n\n".join(sections).encode() + b"\n")
    with atomic_write(out / "study.png") as file:
        draw(summary, plan).savefig(file, format="png", dpi=120)


def _cell(pair: tuple[float, float] | None) -> str:
    if pair is None:
        return ""
    mean, deviation = pair
    return f"{mean:.3f}" if math.isnan(deviation) else f"{mean:.3f} ±{deviation:.3f}"


def _nss_by_k(summary: Mapping[Row, list[tuple[float, float]]]) -> str:
    ks = sorted({row.k for row in summary} - {_NO_K})
    lines = ["| NSS | " + " | ".join(f"k = {k}" for k in ks) + " |", "|---|" + "---|" * len(ks)]
    for name in _readings(summary):
        nsses = {row.k: found[1] for row, found in summary.items() if row.reading == name}
        lines.append(f"| {name} | " + " | ".join(_cell(nsses.get(k, nsses.get(_NO_K))) for k in ks) + " |")
    return "\n".join(lines)


def _all_scores(summary: Mapping[Row, list[tuple[float, float]]]) -> str:
    k = min((row.k for row in summary if row.k), key=_paper_first)
    lines = [f"| k = {k} | " + " | ".join(_SCORES) + " |", "|---|" + "---|" * len(_SCORES)]
    for row, found in summary.items():
        if row.k in (_NO_K, k):
            lines.append(f"| {row.reading} | " + " | ".join(map(_cell, found)) + " |")
    return "\n".join(lines)


def _nss_by_train(summary: Mapping[Row, list[tuple[float, float]]], counts: Sequence[int]) -> str:
    lines = ["| NSS | " + " | ".join(map(str, counts)) + " |", "|---|" + "---|" * len(counts)]
    k = min((row.k for row in summary if row.k), key=_paper_first)
    for name in _readings(summary):
        nsses = {row.train: s[1] for row, s in summary.items() if row.reading == name and row.k in (_NO_K, k)}
        lines.append(f"| {name} | " + " | ".join(_cell(nsses.get(count)) for count in counts) + " |")
    return "\n".join(lines)


def draw(summary: Mapping[Row, list[tuple[float, float]]], plan: Plan) -> Figure:
    """NSS of every reading by k. Each backbone has a row of panels: one for its last block, one for all its blocks.

    Readings that have no modes are horizontal lines.
    """
    chosen = {row: found[1] for row, found in summary.items() if row.train == plan.train}
    backbones = list(dict.fromkeys(row.backbone for row in chosen))
    columns = list(dict.fromkeys(row.blocks for row in chosen))
    styles = {
        name: (f"C{index % 10}", "-" if index < 10 else "--") for index, name in enumerate(_readings(chosen))
    }
    figure = Figure(figsize=(5 * len(columns), 3.6 * len(backbones) + 1.4), layout="constrained")
    axes = figure.subplots(len(backbones), len(columns), squeeze=False, sharey="row")
    lines = {}
    for backbone, row_axes in zip(backbones, axes, strict=True):
        for blocks, axis in zip(columns, row_axes, strict=True):
            panel = {row: found for row, found in chosen.items() if row[:2] == (backbone, blocks)}
            for name in _readings(panel):
                points = sorted((row.k, *found) for row, found in panel.items() if row.reading == name)
                color, dash = styles[name]
                if points[0][0] == _NO_K:
                    lines[name] = axis.axhline(points[0][1], color=color, linestyle=":")
                else:
                    ks, means, deviations = zip(*points, strict=True)
                    lines[name] = axis.errorbar(
                        ks, means, deviations, color=color, linestyle=dash, marker="."
                    )
            axis.set_xscale("log", base=2)
            axis.set_xticks(plan.ks, [str(k) for k in plan.ks])
            axis.set(title=f"{backbone}, {blocks} block{'s' * (blocks == 'all')}", xlabel="k", ylabel="NSS")
    figure.legend(
        lines.values(),
        lines.keys(),
        fontsize=8,
        handlelength=4,
        ncols=len(columns) + 1,
        loc="outside lower center",
    )
    return figure


def _readings(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.reading for row in rows))


def main() -> None:
    """Parse the command line, compute what is missing, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.salient_study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, help="OSIE as published; or set SALVIT_OSIE_ROOT")
    parser.add_argument("--out", type=Path, default=Path("runs/salient-study"), help="folder of the results")
    parser.add_argument("--model", default="vit_small_patch14_dinov2", help="timm name of a real backbone")
    parser.add_argument(
        "--weights", type=Path, help="its weights; without them only the embedded backbone is measured"
    )
    parser.add_argument("--size", type=int, nargs=2, default=[210, 280], help="of its images, in pixels")
    parser.add_argument("--ks", type=int, nargs="+", default=[8, 16, 32, 64, 128], help="modes, last block")
    parser.add_argument(
        "--all-ks", type=int, nargs="*", default=[8, 16, 32, 64, 128], help="modes of each block, all blocks"
    )
    parser.add_argument("--seeds", type=int, default=3, help="decoders a row")
    parser.add_argument("--train", type=int, default=160, help="training images")
    parser.add_argument(
        "--growth", type=int, nargs="*", default=[40, 80, 320, 500], help="other numbers of them"
    )
    parser.add_argument("--val", type=int, default=80, help="validation images")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    with interruptible(), one_clear_error():
        plan = Plan(options.ks, options.all_ks, options.seeds, options.train, options.growth)
        backbones = {"salvit_tiny": (load_vit("salvit_tiny"), (120, 160))}
        if options.weights is not None:
            vit = load_vit(options.model, weights=options.weights)
            backbones = {options.model: (vit, tuple(options.size))} | backbones
        most = max(options.train, *options.growth, 0)
        for name, (vit, size) in backbones.items():
            images = load_images(options.root, size, most, options.val, vit)
            study(vit, name, images, plan, options.epochs, options.out)
    print((options.out / "study.md").read_text())


if __name__ == "__main__":
    main()
