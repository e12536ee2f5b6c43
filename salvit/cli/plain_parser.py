"""The parser of commands that Lightning does not run; it imports nothing heavy, so that `--help` stays instant."""

import argparse
import sys
from typing import Never


class PlainParser(argparse.ArgumentParser):
    """argparse without abbreviations, with a page as it is written, and without the usage above every error.

    Args:
        program: such as "salvit report".
        description: above the options.
        epilog: below them.
    """

    def __init__(self, program: str, description: str, epilog: str) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(
            program, description=description, epilog=epilog, allow_abbrev=False, formatter_class=formatter
        )

    def error(self, message: str) -> Never:
        """Print what is wrong, and exit with status 2."""
        print(f"salvit: error: {message}\n(`{self.prog} --help` lists the options.)", file=sys.stderr)
        raise SystemExit(2)
