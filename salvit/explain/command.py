"""The command `salvit explain`: its options, how it ends, and what it prints when something is wrong.

Nothing heavy is imported here, so that `--help` stays instant.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never

from salvit.cli.interrupt import importing, interruptible
from salvit.cli.plain_parser import PlainParser

DEFAULT_MODEL = "salvit_tiny"
_DESCRIPTION = """Show where in an image a ViT looks, or what made it say a class: overlays, maps and a grid of methods.

Images are squashed to the model's input size, not cropped, so that every pixel is explained and a map lies over the
whole image. Options come after the images: IMAGE … --method … --target …"""

_EPILOG = """methods:
  NAME or NAME:OPTION=VALUE,OPTION=VALUE, as in rollout, rise:masks=500 or rollout:rows=all,start_layer=1;
  --list-methods lists the names and options, and docs/methods.md says what each method does. A class of your own is
  named by its module, my_file.MyExtractor. "all" takes every method that the model supports; a method that is typed
  with options takes the place of the one without. Methods that the model does not support are left out.
  Of a method that gives several maps the mean is shown. rise takes 4000 forward passes per image and class, scorecam
  one for each feature of a token (768 in ViT-B), xrai 100 forward and backward passes:
  --method all --without rise scorecam xrai.

written under --out, with the NAME of the image, and with a comma for the colon of METHOD:
  grids/NAME.png                   the image beside every overlay that the command asks for; a row for each class
  maps/NAME/METHOD[_CLASS].npy     float32, bilinear at the image's size, not normalised
  maps/NAME/METHOD[_CLASS].png     the overlay at the image's size, its longest side at most 1024 pixels; colours run
                                   from the map's minimum, or from 0 where it has negative values, to its maximum;
                                   where few values are more than twice as large as all others, to the 99th percentile
  explain.csv                      a row per map, of this command and of earlier ones: image, classes, range of the
                                   colours, files
  explain.json                     the last command, model, versions
  attention.json                   the attention of at most 4 images, which `salvit report` shows beside the maps

Maps that are there already are not computed again: the same command goes on after Ctrl-C, and another command adds
images, methods and classes. Other models, weights or input sizes need another --out, and so do images that have changed
or have the names of others.

The table goes to stdout, progress and remarks go to stderr. Exit status: 0; 2 if the command line is wrong or does not
fit the model, the files or the folder, before anything is computed; 1 if anything fails later, also if only one image
of many fails (the others are written); 130 after Ctrl-C.

examples:
  salvit explain dog.jpg FOLDER --method agcam rollout relevance_lrp --model vit_base_patch16_224
  salvit explain dog.jpg --model vit_base_patch16_224 --target "bull mastiff" n02123045 282
  salvit explain dog.jpg --method raw_attention:block=0 raw_attention:block=11 rollout:rows=all,start_layer=1
  salvit explain dog.jpg --method all --model deit_small_patch16_224 --weights deit_small.pth --out runs/dog"""


def main(arguments: Sequence[str]) -> None:
    """Run a command line.

    Args:
        arguments: what was typed after `salvit explain`.

    Raises:
        SystemExit: with status 2 if the command line is wrong or does not fit the model, the files or the folder, and
            nothing was computed; 1 after a later error, or if some images could not be read; 130 after Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The terminal may lack the letters of a file's name.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # as in `salvit explain … | head`
        # Python flushes once more when it ends, and would report the same error then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _run(arguments: Sequence[str]) -> None:
    options = parse(arguments)

    def done() -> str:
        if any(options.out.glob("maps/*/*.png")):
            return f"; what is done is in {options.out}, and the same command goes on from there"
        return "; no map is done yet"

    with interruptible(done):
        with importing():  # heavy, and not needed for help
            from salvit.cli.failure import one_clear_error, plain_warnings
            from salvit.explain.run import Run
        with plain_warnings():
            with one_clear_error(status=2):
                run = Run(options)
            with one_clear_error():
                run.explain()


class _Parser(PlainParser):
    """With one more hint."""

    def error(self, message: str) -> Never:
        if message.endswith("required: IMAGE"):
            message += ", before the options, which take all that follows them"
        super().error(message)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line.

    Args:
        arguments: what was typed after `salvit explain`.

    Returns:
        The options by name; `image_size` is (height, width) or None, and `command` is what was typed.

    Raises:
        SystemExit: with status 2 if it is wrong, 0 after `--help` and `--list-methods`.

    Example:
        >>> options = parse(["dog.jpg", "--method", "agcam", "rollout:rows=all", "--image-size", "224"])
        >>> options.method, options.image_size
        (['agcam', 'rollout:rows=all'], (224, 224))
    """
    parser = _Parser("salvit explain", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "type": _text}
    add("images", nargs="+", type=_path, metavar="IMAGE", help="image files, and folders with all below them")
    add("--method", **several, metavar="METHOD", help="one or more, or all; default: agcam")
    add("--without", **several, metavar="METHOD", help="what --method all is to leave out, by name")
    about = "class index, name or WordNet ID; default: each image's predicted class"
    add("--target", **several, metavar="CLASS", help=about)
    about = f"timm name or weights file; default: {DEFAULT_MODEL}, which knows ten shapes"
    add("--model", type=_text, default=DEFAULT_MODEL, help=about)
    about = """local weights of the timm model, for use without a network; images are normalised as of the model's name,
        so give its tag (.dino, .mae)"""
    add("--weights", type=_path, metavar="FILE", help=about)
    about = "side, or height and width, that images are squashed to; default: the model's"
    add("--image-size", nargs="+", type=_positive, metavar="N", help=about)
    about = "auto (a GPU if there is one), cpu, cuda or cuda:N; default: auto"
    add("--device", type=_text, default="auto", help=about)
    add("--batch-size", type=_positive, default=8, metavar="N", help="images at a time; default: 8")
    add("--out", type=_path, default=Path("runs/explain"), metavar="FOLDER", help="default: runs/explain")
    add("--wandb", type=_text, metavar="PROJECT", help="also log grids and overlays to a project of W&B")
    add("-q", "--quiet", action="store_true", help="no progress and no remarks")
    add("--list-methods", nargs=0, action=_ListMethods, help="list the methods with their options, and exit")
    options = parser.parse_args(arguments)
    if sides := options.image_size:
        if len(sides) > 2:
            parser.error(f"--image-size takes a side, or a height and a width; got {len(sides)} numbers")
        options.image_size = (sides[0], sides[-1])
    options.command = ["salvit", "explain", *arguments]
    return options


class _ListMethods(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from salvit.explain.methods import list_methods

        print(list_methods())
        parser.exit()


def _text(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty argument; is a variable of the shell empty?")
    return text


def _path(text: str) -> Path:
    return Path(_text(text))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1; got {text!r}")
    return int(text)
