"""`salvit`, `lightning` and `python -m salvit`; help is answered before anything heavy is imported."""

import difflib
import sys
from pathlib import Path

from salvit import __version__

HELP = """usage: salvit {fit,validate,test,predict} [--config FILE] [options]
       salvit explain IMAGE... [options]

Does a Vision Transformer look where people look, and does its explanation say what it used?

commands:
  fit        train what the config names, a saliency decoder or a ViT from scratch
  validate   score it on the val split
  test       score it on the test split, beside baselines, and print the table
  predict    write maps and overlays for a folder of images
  explain    show what a ViT looks at in some images: overlays by one or more methods, for one or more classes

options:
  -h, --help     this page; `salvit fit --help` lists every option of a command
  --version      the version

examples:
  salvit fit --config experiments/demo.yaml
  salvit fit --config experiments/osie.yaml --data.root PATH --model.extractor SalientAttention
  salvit predict --ckpt_path CHECKPOINT --data.root FOLDER
  salvit explain dog.jpg FOLDER --method agcam rollout --model vit_base_patch16_224 --target "bull mastiff"
"""


COMMANDS = ("fit", "validate", "test", "predict")
"""LightningCLI's; `explain` has a parser of its own."""


def _wrong(message: str) -> int:
    print(f"salvit: error: {message}\n(`salvit --help` lists the commands.)", file=sys.stderr)
    return 2


def main(args: list[str] | None = None) -> None:
    """Run a command line.

    Args:
        args: what was typed after the program's name; `sys.argv` by default.

    Raises:
        SystemExit: with status 2 if the command line is wrong.

    Example:
        >>> main(["--version"])
        salvit 0.1.0
    """
    arguments = sys.argv[1:] if args is None else args
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # where one's own classes are that are named, as with `python -m salvit`
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
    elif arguments == ["--version"]:
        print(f"salvit {__version__}")
    elif arguments[0] == "explain":
        from salvit.explain.command import main as explain

        explain(arguments[1:])
    elif arguments[0].startswith("-") or arguments[0] in COMMANDS:
        from salvit.cli import run

        run(args)
    else:
        close = difflib.get_close_matches(arguments[0], [*COMMANDS, "explain"], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        known = ", ".join([*COMMANDS, "explain"])
        raise SystemExit(_wrong(f"no command {arguments[0]!r}{hint} Commands: {known}"))


if __name__ == "__main__":
    main()
