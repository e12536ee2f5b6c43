"""What the documents tell people to type is there."""

import re
from pathlib import Path

import pytest

import datamodules
from salvit.metrics import saliency_metrics
from salvit.metrics.base import columns_of

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(document.read_text() for document in DOCUMENTS)


def test_the_example_in_python_runs(capsys):
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/usage.md").read_text(), re.DOTALL)
    exec(compile(example, "usage.md", "exec"), {})
    assert capsys.readouterr().out == "torch.Size([2, 8, 8, 12])\n"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"(?:experiments/|salvit:)([\w/-]+\.yaml)", TEXT))))
def test_every_config_named_exists(name):
    assert (ROOT / "experiments" / name).is_file()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"(?<![\w./])(?:salvit|datamodules|benchmarks|tests)/[\w/.-]*\w/?", TEXT)))
)
def test_every_file_of_the_code_named_exists(path):
    assert (ROOT / path).exists()


def test_every_make_target_named_exists():
    files = (ROOT / "Makefile", ROOT / "experiments/tables/tables.mk")
    targets = set(re.findall(r"^([a-z0-9-]+):", "".join(file.read_text() for file in files), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", TEXT, re.MULTILINE)) <= targets


def test_every_link_within_the_project_leads_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_dataset_is_listed_with_its_variable():
    for name in datamodules.__all__:
        variable = getattr(getattr(datamodules, name), "env", None)
        if variable:
            row = rf"^\| `{name}`.*`{variable}`"
            assert re.search(row, (ROOT / "docs/datasets.md").read_text(), re.MULTILINE), name


def test_the_table_has_the_columns_of_the_report():
    columns = columns_of(saliency_metrics().values())
    header = " | ".join(f"{name} {arrow}" for name, arrow in columns.items())
    assert f"| model | {header} |" in TEXT
