"""The documentation beside its text: notebooks with their outputs, the pages of the site, and how to cite."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

import salvit

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def cells(notebook, kind):
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_from_top_to_bottom(notebook):
    code = cells(notebook, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert any("image/jpeg" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error"]
    text = "".join("".join(output.get("text", [])) for output in outputs)
    assert not re.search(r"(?i)error|traceback|/root|/home|/tmp", text), text


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_code_is_python_and_what_it_imports_is_there(notebook):
    for cell in cells(notebook, "code"):
        source = re.sub(r"^!(?:.*\\\n)*.*", "", "".join(cell["source"]), flags=re.MULTILINE)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("salvit", "datamodules"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names), node.module


def test_notebooks_and_their_photograph_are_small():
    assert {path.name for path in NOTEBOOKS} == {"explain.ipynb", "osie.ipynb"}
    files = [*NOTEBOOKS, *(ROOT / "docs/notebooks").glob("*.jpg")]
    assert sum(path.stat().st_size for path in files) < 1_000_000


def test_photographs_are_named_with_author_and_licence():
    for notebook in NOTEBOOKS:
        text = "".join("".join(cell["source"]) for cell in cells(notebook, "markdown"))
        assert "NUS VIP" in text
        assert "MIT licence" in text


def test_every_page_is_in_the_navigation():
    text = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text())
    pages = re.findall(r"[\w/]+\.(?:md|ipynb)", yaml.dump(yaml.safe_load(text)["nav"]))
    files = [path for kind in ("md", "ipynb") for path in (ROOT / "docs").rglob(f"*.{kind}")]
    ours = {path.relative_to(ROOT / "docs").as_posix() for path in files if "runs" not in path.parts}
    assert sorted(pages) == sorted(ours | {"index.md", "contributing.md", "changelog.md"})


def test_links_of_the_files_beside_docs_lead_to_pages():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs/site/pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    shown = pages.from_docs('[a](docs/a.md#b) [us](CONTRIBUTING.md) <img src="docs/c.jpg">')
    assert shown == '[a](a.md#b) [us](contributing.md) <img src="c.jpg">'
    assert pages.on_page_markdown("[start](../README.md#try-it)") == "[start](index.md#try-it)"


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == salvit.__version__
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_the_workflow_runs_what_a_developer_runs():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert ".ci/run" in [step.get("run") for step in workflow["jobs"]["check"]["steps"]]
