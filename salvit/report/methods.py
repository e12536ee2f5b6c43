"""Which method works on which family of timm's ViTs, as a page: `python -m salvit.report.methods docs/methods.md`.

The rows come from the methods' docstrings. For the cells, each method checks a model of the family, on the meta device,
so no weights are needed.
"""

import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import torch

from salvit.errors import InvalidValueError
from salvit.extractors import METHODS
from salvit.extractors.base import Extractor
from salvit.results.atomic import atomic_write
from salvit.vit import ViT, load_vit


class Family(NamedTuple):
    """A kind of ViT: how it differs, the timm architecture that is checked, and published models of this kind."""

    what: str
    architecture: str
    members: str


FAMILIES = (
    Family("class token", "vit_base_patch16_224", "ViT, AugReg, DINO, MAE, CLIP, DeiT"),
    Family("class and distilled token", "deit_base_distilled_patch16_224", "distilled DeiT"),
    Family("class token and registers", "vit_base_patch14_reg4_dinov2", "DINOv2 with registers, RADIO, TIPS"),
    Family("LayerScale", "deit3_base_patch16_224", "DeiT III, DINOv2"),
    Family("class token, average pooling", "eva_large_patch14_196", "EVA-L, MAE fine-tuned"),
    Family("no class token, average pooling", "vit_medium_patch16_gap_240", "timm's gap models"),
    Family("registers, average pooling", "vit_betwixt_patch16_reg4_gap_256", "timm's reg models"),
    Family("attention pooling", "vit_base_patch16_siglip_224", "SigLIP, SigLIP 2"),
    Family("patch size that varies", "flexivit_base", "FlexiViT"),
    Family("no class token, SwiGLU", "aimv2_large_patch14_224", "AIMv2"),
    Family("class token, gated MLP", "vit_giant_patch14_dinov2", "DINOv2 giant"),
    Family("normalised attention output", "beit3_base_patch16_224", "BEiT-3"),
    Family("post-norm", "vit_base_patch16_rpn_224", "timm's rpn models"),
    Family("MLP parallel to attention, qk-norm", "vit_base_patch16_xp_224", "ViT-22B's block"),
    Family("attentions side by side", "vit_small_patch16_18x2_224", "Three Things, 18x2"),
    Family("differential attention", "vit_dwee_patch16_reg1_gap_256", "timm's dwee and dpwee models"),
    Family(
        "relative position bias, class token", "vit_relpos_base_patch16_cls_224", "timm's relpos cls models"
    ),
    Family(
        "relative position bias, average pooling",
        "vit_relpos_base_patch16_224",
        "timm's relpos and srelpos models",
    ),
    Family("BEiT", "beit_base_patch16_224", "BEiT, BEiT v2"),
    Family("EVA", "eva_giant_patch14_224", "EVA"),
    Family("RoPE, class token", "vit_base_patch16_rope_224", "timm's rope models, sapiens2"),
    Family("RoPE, average pooling", "vit_base_patch16_dinov3", "DINOv3, EVA-02"),
    Family("RoPE, SwiGLU, class token", "eva02_base_patch16_clip_224", "EVA-02 CLIP"),
    Family("RoPE, class token, attention pooling", "vit_pe_core_base_patch16_224", "Perception Encoder"),
    Family("patches of a CNN, class token", "vit_tiny_r_s16_p8_224", "hybrid ViT"),
    Family("patches of a CNN, average pooling", "vitamin_small_224", "ViTamin"),
    Family("NaFlexViT, class token", "naflexvit_base_patch16_radio_v3", "C-RADIO v3, v4"),
    Family("NaFlexViT, no class token", "naflexvit_base_patch16_gap", "NaFlexViT, SigLIP 2 NaFlex"),
)
REFUSED = (
    "swin_base_patch4_window7_224",
    "maxvit_base_tf_224",
    "pvt_v2_b2",
    "mvitv2_base",
    "hiera_base_224",
    "levit_256",
    "volo_d1_224",
    "pit_b_224",
    "mixer_b16_224",
    "convnext_base",
    "cait_s24_224",
    "convit_base",
    "crossvit_base_240",
    "tnt_b_patch16_224",
    "samvit_base_patch16",
    "xcit_small_12_p16_224",
    "deepseek_vit_412m",
    "gemma4_vit_167m",
    "qwen3_vit_88m",
)
_INTRODUCTION = """\
# Methods, and the models they work on

Written by `make methods`. To change this page, change the docstrings of the methods or `salvit/report/methods.py`.

A method is written `name:option=value,option=value` on the command line, in YAML, and in
`salvit.extract(vit, images, method=…)`. Every method takes a batch. The maps of an image do not depend on the other
images of the batch, except for rounding: torch may sum a larger batch in another order. Where two values are nearly
equal, rounding can decide between them, for example which position salient attention retrieves, or which patch the
unsupervised map keeps. A method that does not support a model raises an error before it computes anything.

`target` is the class that class-specific methods explain: one index for all images, or a tensor with one per image. The
default is the predicted class. `per_head=True` gives one map per head of the block; of methods that combine several
blocks, of the last one. The mean of these maps is the map without `per_head`, with two exceptions: `attention_gradient`
sums over the heads, and `attn_gradcam` sets negative values to 0 head by head.

`rows` chooses the rows of the attention. "auto", the default, takes the class token's row if the model classifies from
its class token, else the mean over the rows of the tokens that the classifier averages or attends over. "class" always
takes the class token's row, "all" the mean over all patches.
"""
_SUPPORT = """\
✓: works. A number: not supported, for the reason below. The models are timm's, with a classifier. Of a model without a
classifier (`num_classes=0`), no class-specific method is supported.
"""


def methods_page() -> str:
    """Return the page, in Markdown.

    Example:
        >>> methods_page().splitlines()[0]
        '# Methods, and the models they work on'
    """
    parts = [
        _INTRODUCTION,
        "## Methods\n",
        _methods(),
        "Sources:\n",
        _sources(),
        "## Families\n",
        _families(),
    ]
    parts += ["## Which works on which\n", _SUPPORT, _support(), "## Models that are refused\n", _refused()]
    return "\n".join(parts)


def short_reason(extractor: Extractor, error: Exception) -> str:
    """Return why an extractor refuses a model, from the error of its `check`, without the names of the two.

    Example:
        >>> from salvit.extractors import LeGrad
        >>> short_reason(LeGrad(), ValueError("LeGrad() needs attention maps, and this Beit has none"))
        'needs attention maps, and this model has none'
    """
    reason = str(error).removeprefix(f"{extractor!r} ")
    return re.sub(r"(?:this |(?<=of ))(?:VisionTransformer|Beit|Eva|NaFlexVit)\w*", "this model", reason)


def _model(architecture: str) -> ViT:
    with torch.device("meta"):
        return load_vit(architecture, pretrained=False, depth=2, num_classes=10)


def _refusal(method: type[Extractor], vit: ViT) -> str:
    extractor = method()
    try:
        extractor.check(vit)
    except ValueError as error:
        return short_reason(extractor, error)
    return ""


def _methods() -> str:
    header = ["method", "class", "what a map is", "class-specific", "options and their defaults"]
    rows = [
        [
            f"`{name}`",
            f"`{method.__name__}`",
            _paragraphs(method)[0],
            "yes" if method.class_specific else "no",
            ", ".join(f"`{option}={_default(method, option)}`" for option in _options(method)) or "none",
        ]
        for name, method in METHODS.items()
    ]
    return _table(header, rows)


def _options(method: type[Extractor]) -> list[str]:
    return list(inspect.signature(method).parameters)


def _default(method: type[Extractor], option: str) -> str:
    return repr(inspect.signature(method).parameters[option].default).replace("'", '"')


def _sources() -> str:
    lines = []
    for name, method in METHODS.items():
        for text in _paragraphs(method):
            if text.startswith("Source: "):
                line = f"- `{name}`: {text.removeprefix('Source: ')}"
                lines.append(textwrap.fill(line, 120, subsequent_indent="  ", break_on_hyphens=False))
    return "\n".join([*lines, ""])


def _paragraphs(method: type[Extractor]) -> list[str]:
    return [" ".join(text.split()) for text in (inspect.getdoc(method) or "").split("\n\n")]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else "A" + chr(ord("A") + index - 26)


def _families() -> str:
    rows = [
        [_letter(index), family.what, family.members, f"`{family.architecture}`"]
        for index, family in enumerate(FAMILIES)
    ]
    return _table(["", "family", "such as", "model asked"], rows)


def _support() -> str:
    notes: dict[str, int] = {}
    models = [_model(family.architecture) for family in FAMILIES]
    rows = [[f"`{name}`", *(_cell(method, vit, notes) for vit in models)] for name, method in METHODS.items()]
    table = _table(["", *(_letter(index) for index in range(len(FAMILIES)))], rows)
    listed = [
        textwrap.fill(f"{number}. {note}", 120, subsequent_indent="   ") for note, number in notes.items()
    ]
    return "\n".join([table, *listed, ""])


def _cell(method: type[Extractor], vit: ViT, notes: dict[str, int]) -> str:
    reason = _refusal(method, vit)
    if not reason:
        return "✓"
    return str(notes.setdefault(reason, len(notes) + 1))


def _refused() -> str:
    return _table(["model", "why"], [[f"`{name}`", _why_not(name)] for name in REFUSED])


def _why_not(architecture: str) -> str:
    try:
        load_vit(architecture, pretrained=False)
    except ValueError as error:
        return str(error).partition("not a plain ViT: ")[2].partition("; take one")[0]
    raise InvalidValueError(f"{architecture} is a plain ViT: take it out of REFUSED")


if __name__ == "__main__":
    with atomic_write(Path(sys.argv[1])) as part:
        part.write(methods_page().encode())
