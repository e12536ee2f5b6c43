"""The command `salvit cache`: list and remove the maps that are kept on disk."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from salvit.cache.place import Cached, cache_folder, cached, remove
from salvit.cli.plain_parser import PlainParser

_DESCRIPTION = """List or remove the maps of frozen models that runs with cache_maps: true keep for later runs. They are
in the folder maps of SALVIT_CACHE, by default ~/.cache/salvit.

  salvit cache list     the maps of each model and method: number of images, and size
  salvit cache prune    remove the maps made by another version of salvit's code, which are never read again"""


def main(arguments: Sequence[str]) -> None:
    """Run a command line.

    Args:
        arguments: what was typed after `salvit cache`.

    Raises:
        SystemExit: with status 2 if the command line is wrong, 1 if a file cannot be removed.
    """
    options = parse(arguments)
    folder = options.folder or cache_folder()
    entries = list(cached(folder))
    try:
        if options.action == "list":
            _list(folder, entries)
        else:
            _prune(folder, entries, everything=options.all)
    except OSError as error:
        print(f"salvit: error: {error.strerror}: {error.filename}", file=sys.stderr)
        raise SystemExit(1) from error


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line.

    Example:
        >>> parse(["prune", "--all"])
        Namespace(action='prune', all=True, folder=None)
    """
    parser = PlainParser("salvit cache", _DESCRIPTION, "")
    parser.add_argument("action", choices=["list", "prune"])
    parser.add_argument("--all", action="store_true", help="prune: remove all maps")
    about = "folder of the maps; default: maps in SALVIT_CACHE"
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help=about)
    options = parser.parse_args(arguments)
    if options.all and options.action != "prune":
        parser.error("--all is for `salvit cache prune`")
    return options


def _list(folder: Path, entries: list[Cached]) -> None:
    current = _code() if entries else ""
    for one in entries:
        note = "" if one.code == current else "  (other code: prune removes it)"
        print(f"{one.folder.name}  {one.images:>7} images  {readable(one.bytes):>9}  {one.title}{note}")
    print(f"{folder}: {_total(entries)}")


def _prune(folder: Path, entries: list[Cached], everything: bool) -> None:
    current = _code() if entries else ""
    old = [one for one in entries if everything or one.code != current]
    for one in old:
        remove(one.folder)
    print(f"removed {_total(old)}; {_total([one for one in entries if one not in old])} left in {folder}")


def _total(entries: list[Cached]) -> str:
    return (
        f"maps of {sum(one.images for one in entries)} images ({readable(sum(one.bytes for one in entries))})"
    )


def _code() -> str:
    from salvit.cli.interrupt import importing  # heavy, and not needed for help

    with importing():
        from salvit.results.source import package_hash
    return package_hash()


def readable(size: int) -> str:
    """A size in bytes with a unit that people can read.

    Example:
        >>> readable(0), readable(2_500_000)
        ('0.0 MB', '2.5 MB')
    """
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
