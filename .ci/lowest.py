"""Prints the lowest versions that pyproject.toml declares, for pip: all but torch and torchvision.

Their lowest versions have no CPU wheels on the package index, and those for CUDA weigh gigabytes: they are not tested.
"""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
for requirement in project["dependencies"]:
    if not requirement.startswith("torch>") and not requirement.startswith("torchvision>"):
        print(requirement.replace(">=", "=="))
    else:
        print(requirement)
