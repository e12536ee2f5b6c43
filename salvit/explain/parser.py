"""The command line of `salvit explain`, read before anything heavy is imported."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

from salvit.explain.spec import Spec, parse_spec

DEFAULT_MODEL = "salvit_tiny"
_DESCRIPTION = """Show where in an image a ViT looks, or what made it say a class: overlays, maps and a grid of methods.

Images are squashed to the model's input size, not cropped, so that every pixel is explained and a map lies over the
whole image. Options come after the images: IMAGE … --method … --target …"""

_EPILOG = """methods:
  attention         raw_attention rollout norm_rollout salient_attention unsupervised_map
  class-specific    agcam attention_gradient attn_gradcam full_lrp generic_attention input_gradient
                    input_x_gradient legrad partial_lrp relevance_lrp rise scorecam token_gradcam tokentm
  baselines         center_prior random
  your own          module.Class, a subclass of salvit.extractors.Extractor, here or where Python finds it
  all               those that have a meaning for the model; one named with options beside it replaces its own
  Where a method gives several maps, their mean is shown. rise takes 4000 forward passes per image and
  class, scorecam one for each feature of a token (768 in ViT-B): --method all --without rise scorecam.

options of methods, as in --method rollout:rows=all,start_layer=1 rise:masks=500 relevance_lrp:precision=double
(docs/methods.md says what a method does, its class what an option does); a method may be named several times:
  block             raw_attention attention_gradient scorecam token_gradcam salient_attention unsupervised_map
  per_head          raw_attention rollout attention_gradient generic_attention attn_gradcam partial_lrp relevance_lrp
                    tokentm
  precision         full_lrp relevance_lrp
  rows              raw_attention rollout norm_rollout attention_gradient generic_attention tokentm
  start_layer       rollout norm_rollout relevance_lrp
  others            center_prior: sigma; random: seed; rise: masks, cells, probability, batch_size, seed;
                    salient_attention: k, rank, select, init, seed, max_iter, tol; scorecam: channels, batch_size;
                    unsupervised_map: mass, sigma

written under --out, where NAME is the image's and METHOD has its options, if there are any, after a comma:
  grids/NAME.png                   the image beside every overlay that the command asks for; of several classes, one
                                   below the other, and once what is the same for all
  maps/NAME/METHOD[_CLASS].npy     float32, bilinear at the image's size (as of `salvit predict`), not normalised
  maps/NAME/METHOD[_CLASS].png     the overlay at the image's size, its longest side at most 1024 pixels; colours run
                                   from the map's minimum to its maximum, or from 0 where it has negative values; of
                                   methods with a value per pixel (full_lrp, input_gradient, input_x_gradient, rise)
                                   to the 99th percentile, or a few pixels would leave all others black
  explain.csv                      a row per map, of this command and of earlier ones: image, classes, files
  explain.json                     the last command, model, versions

Maps that are there already are not computed again: the same command goes on after an interrupt, and more images,
methods and classes can be added, one command at a time. Other models, weights or input sizes need another --out, and
so do images that have changed or have the names of others.

Exit status: 0; 2 if the command line is wrong or does not fit the model, the files or the folder, before anything is
computed; 1 if anything fails later, be it one image of many (the others are written); 130 after an interrupt.

examples:
  salvit explain dog.jpg FOLDER --method agcam rollout relevance_lrp --model vit_base_patch16_224
  salvit explain dog.jpg --model vit_base_patch16_224 --target "bull mastiff" n02123045 282
  salvit explain dog.jpg --method raw_attention:block=0 raw_attention:block=11 rollout:rows=all,start_layer=1
  salvit explain dog.jpg --method all --model deit_small_patch16_224 --weights deit_small.pth --out runs/dog"""


@dataclass(frozen=True)
class Options:
    """What to explain, and how.

    Attributes:
        images: files and folders.
        methods: with their options; `Spec("all")` for those that the model supports, none for the default one.
        without: those that "all" is to leave out.
        targets: class indices, names or WordNet IDs as typed; none for each image's predicted class.
        model: timm name, weights file or "salvit_tiny".
        weights: local weights instead of the published ones.
        image_size: (height, width) of the model's input; None for the model's own.
        device: "auto", "cpu", "cuda" or "cuda:N".
        batch_size: images at a time.
        out: folder to write to.
        command: what was typed after `salvit`.
    """

    images: tuple[Path, ...]
    methods: tuple[Spec, ...]
    without: tuple[str, ...]
    targets: tuple[str, ...]
    model: str
    weights: Path | None
    image_size: tuple[int, int] | None
    device: str
    batch_size: int
    out: Path
    command: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    """argparse without the page of usage above every error."""

    def error(self, message: str) -> Never:
        if message.endswith("required: IMAGE"):
            message += ", before the options, which take all that follows them"
        print(f"salvit: error: {message}\n(`{self.prog} --help` lists the options.)", file=sys.stderr)
        raise SystemExit(2)


def parse(arguments: Sequence[str]) -> Options:
    """Read a command line.

    Args:
        arguments: what was typed after `salvit explain`.

    Raises:
        SystemExit: with status 2 if it is wrong, 0 after `--help`.

    Example:
        >>> options = parse(["dog.jpg", "--method", "agcam", "rollout:rows=all", "--image-size", "224"])
        >>> [str(method) for method in options.methods], options.image_size
        (['agcam', 'rollout:rows=all'], (224, 224))
    """
    typed = _parser().parse_args(arguments)
    return Options(
        images=tuple(typed.images),
        methods=tuple(dict.fromkeys(typed.method)),
        without=tuple(dict.fromkeys(typed.without)),
        targets=tuple(typed.target),
        model=typed.model,
        weights=typed.weights,
        image_size=None if typed.image_size is None else (typed.image_size[0], typed.image_size[-1]),
        device=typed.device,
        batch_size=typed.batch_size,
        out=typed.out,
        command=("explain", *arguments),
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="salvit explain",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("images", nargs="+", type=_path, metavar="IMAGE", help="image files, and folders with all below them")
    add(
        "--method",
        nargs="+",
        action="extend",
        default=[],
        type=_described_by(parse_spec),
        metavar="METHOD",
        help="one or more, each NAME or NAME:OPTION=VALUE,OPTION=VALUE; or all, by default agcam",
    )
    add(
        "--without",
        nargs="+",
        action="extend",
        default=[],
        type=_text,
        metavar="METHOD",
        help="what --method all is to leave out, by name",
    )
    add(
        "--target",
        nargs="+",
        action="extend",
        default=[],
        type=_text,
        metavar="CLASS",
        help="class index, name or WordNet ID, one or more; default: each image's predicted class",
    )
    add(
        "--model",
        type=_text,
        default=DEFAULT_MODEL,
        help=f"timm name or weights file; default: {DEFAULT_MODEL} (ten shapes)",
    )
    add(
        "--weights",
        type=_path,
        metavar="FILE",
        help="local weights of the timm model, for use without a network; images are normalised as of the model's "
        "name, so give its tag (.dino, .mae)",
    )
    add(
        "--image-size",
        nargs="+",
        type=_positive,
        action=_Size,
        metavar="N",
        help="side, or height and width, that images are squashed to; default: the model's",
    )
    add(
        "--device",
        type=_text,
        default="auto",
        help="auto (a GPU if there is one), cpu, cuda or cuda:N; default: auto",
    )
    add("--batch-size", type=_positive, default=8, metavar="N", help="images at a time; default: 8")
    add("--out", type=_path, default=Path("runs/explain"), metavar="FOLDER", help="default: runs/explain")
    return parser


class _Size(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(values, list)
        if len(values) > 2:
            parser.error(f"{option_string} takes a side, or a height and a width; got {len(values)} numbers")
        setattr(namespace, self.dest, values)


def _text(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty argument; is a variable of the shell empty?")
    return text


def _path(text: str) -> Path:
    return Path(_text(text))


def _described_by(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """The function, whose own message argparse would else replace."""

    def described(text: str) -> Any:
        try:
            return parse(_text(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return described


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1; got {text!r}")
    return int(text)
