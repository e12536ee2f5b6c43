"""`salvit report` as a person runs it: the numbers of its files are those of the runs."""

import csv
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from salvit.__main__ import main
from salvit.report.latex import escaped, latex
from salvit.report.runs import find_runs
from salvit.results import Table
from tests.datamodules.data.images import write_image
from tests.explaining import explain
from tests.report.conftest import checkpoint_of, keep, write_csv

NASTY = '<b>&"k=[/8]_%$#{}\\'
METHODS = {"rollout": [(0.5, 0.2, 0.1), (0.7, 0.3, 0.2)], NASTY: [(0.25, 0.4, 0.3), (0.3, 0.9, 0.4)]}


def report(folder, *arguments):
    main(["report", str(folder), *arguments])
    return folder / "report"


class Page(HTMLParser):
    """The texts of a page's elements, its attributes, and its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.texts, self.tables, self.data = [], [], [], {}
        self.open = [("", {})]
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "input", "wbr"):
            self.open.append(self.tags[-1])
        if tag == "table":
            self.tables.append([])
        if tag == "tr" and self.tables:
            self.tables[-1].append([])
        if tag in ("td", "th") and self.tables:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tag, attributes = self.open[-1]
        if attributes.get("id") == "data":
            self.data = json.loads(data)
        elif tag not in ("script", "style"):
            self.texts.append(data)
            if any(name in ("td", "th") for name, _ in self.open):
                self.tables[-1][-1][-1] += data

    def headings(self):
        return [attributes["id"] for tag, attributes in self.tags if tag == "section"]


def opened(folder):
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_report_of_a_fit_and_its_test_has_all_parts(tmp_path, make_fit, make_test, capsys):
    fit = make_fit("raw_attention")
    keep(
        make_test("raw_attention", **checkpoint_of(fit)),
        {"image0": {"tiny · raw_attention": [[1.0, 2.0]]}},
        True,
    )
    page = opened(report(tmp_path, "--title", "a <b> title"))
    assert page.texts.count("a <b> title") == 2
    assert page.headings() == ["scores", "scatter", "curves", "gallery", "attention", "origin"]
    text = " ".join(page.texts)
    assert "seed 7" in text
    assert "2 min 30 s in all on CPU" in text
    assert "torch 2.15.0" in text
    assert "raw_attention/version_1" in "".join(page.texts)
    out = capsys.readouterr().out
    assert "0.600" in out
    assert f"report: {tmp_path / 'report/index.html'}" in out


def test_a_models_numbers_are_the_same_in_every_file_and_those_of_its_images(tmp_path, make_test):
    make_test("a", scores=(0.5, 0.75))
    out = report(tmp_path)
    [cc] = [one for one in rows(out / "scores.csv") if one["row"] == "tiny · a" and one["score"] == "CC"]
    assert (float(cc["mean"]), cc["images"], cc["better"]) == (0.625, "2", "higher")
    half = (float(cc["high"]) - float(cc["low"])) / 2
    assert f"| tiny · a | **0.625 ±{half:.3f}** |" in (out / "scores.md").read_text()
    assert (
        f"tiny $\\cdot$ a & \\textbf{{0.625}} {{\\scriptsize$\\pm${half:.3f}}} &"
        in (out / "scores.tex").read_text()
    )
    table = opened(out).tables[0]
    assert table[0][:3] == ["model", "CC ↑", "NSS ↑"]
    assert table[1][:2] == ["tiny · a", f"0.625[{float(cc['low']):.3f}, {float(cc['high']):.3f}]"]
    assert opened(out).data["tables"][0]["means"]["CC"][0] == 0.625


def test_methods_have_the_numbers_of_their_run_in_every_file_and_names_are_text(tmp_path, make_explanations):
    folder = make_explanations("people", METHODS)
    maps = {f"image{i}": {"rollout": [[1.0, 2.0]], NASTY: [[2.0, 1.0]]} for i in range(2)}
    keep(folder, maps, attention=True)
    out = report(tmp_path)
    known = {(one["method"], one["score"]): one for one in rows(folder / "scores.csv")}
    found = {(one["row"], one["score"]): one for one in rows(out / "scores.csv")}
    assert known.keys() == found.keys()
    for key, one in known.items():
        assert [float(one[name]) for name in ("mean", "low", "high")] == pytest.approx(
            [float(found[key][name]) for name in ("mean", "low", "high")], abs=1e-6
        )
    page = opened(out)
    [headline, *_] = page.tables
    assert [row[0] for row in headline] == ["method", "rollout", NASTY]
    assert headline[1][1].startswith(f"{float(known['rollout', 'CC']['mean']):.3f}[")
    assert page.data["tables"][0]["rows"] == ["rollout", NASTY]
    assert page.data["galleries"][0]["methods"] == ["rollout", NASTY]
    assert [one["name"] for one in page.data["explorers"][0]["images"][0]["maps"]] == ["rollout", NASTY]
    assert not [tag for tag, _ in page.tags if tag == "b"]
    tex = (out / "scores.tex").read_text()
    assert f"{escaped(NASTY)} & 0.275 {{\\scriptsize$\\pm$0.100}}" in tex
    assert rows(out / "agreement.csv")[0] == {
        "image": "image0",
        "row": "rollout",
        "other": NASTY,
        "correlation": "-1.000000",
        "images": "vit: PopOut, test split, 2 images",
    }
    differences = {(one["score"], one["row"], one["other"]): one for one in rows(out / "differences.csv")}
    assert float(differences["CC", "rollout", NASTY]["difference"]) == pytest.approx(0.6 - 0.275)


def test_every_kind_of_curve_is_on_the_page(tmp_path, make_fit, make_test, make_explanations):
    for k in (4, 8, 16):
        fit = make_fit(f"sweep-k/k={k}", model="tiny · salient_attention", options={"k": k})
        make_test(f"sweep-k/k={k}", model="tiny · salient_attention", **checkpoint_of(fit))
    folder = make_explanations("explained", METHODS)
    removed = [{"method": "rollout", "curve": curve, "0": 1, "1": 0} for curve in ("LeRF", "MoRF")]
    write_csv(folder / "curves.csv", removed)
    write_csv(
        folder / "sanity.csv", [{"method": "rollout", "score": "MPRT", "part": "head", "correlation": 0.5}]
    )
    groups = {chart["group"] for chart in opened(report(tmp_path)).data["charts"]}
    assert {group.split()[0].rstrip(",") for group in groups} == {
        "Sweep",
        "Perturbation",
        "Random",
        "Training",
    }


def test_every_letter_that_latex_reads_is_escaped():
    table = Table(
        NASTY,
        {"a_b": "↓"},
        pd.DataFrame({"a_b": {NASTY: -0.5, "paper, published": 0.25}}),
        apart=["paper, published"],
    )
    text = latex(table)
    for letter in "&%$#_{}":
        bare = re.sub(
            r"\\[a-z]+|\\[&%$#_{}]|\$[^$]*\$|^.*\\begin.*$|^.*\\end.*$", "", text, flags=re.MULTILINE
        )
        if letter not in "&{}":  # these are also the marks of the table itself
            assert letter not in bare, letter
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert "<" not in text
    assert r"\textbf{$-$0.500} \\" in text
    assert text.index(r"\midrule", text.index(r"\midrule") + 1) < text.index("paper, published & 0.250")


def test_the_page_asks_for_nothing_and_commands_are_text(tmp_path, make_fit, make_test):
    make_fit("a", command="salvit fit --data.root '<img src=x>' </script>")
    make_test("a")
    out = report(tmp_path)
    page = opened(out)
    assert {tag for tag, _ in page.tags} & {"link", "img", "iframe"} == set()
    assert [attributes for tag, attributes in page.tags if tag == "script" and "src" in attributes] == []
    assert not re.search(r"@import|url\(", (out / "index.html").read_text())
    assert "salvit fit --data.root '<img src=x>' </script>" in page.texts


@pytest.mark.parametrize("finished", [True, False])
def test_a_fit_alone_has_no_scores_and_one_that_logged_nothing_no_curves(
    tmp_path, make_fit, make_run, finished
):
    if finished:
        make_fit("a")
    else:
        make_run("a", "version_0", "fit", seconds=None)
    out = report(tmp_path)
    page = opened(out)
    assert page.headings() == (["curves", "origin"] if finished else ["origin"])
    assert ("unfinished" in " ".join(page.texts)) != finished
    assert [path.name for path in sorted(out.iterdir())] == [".salvit", "index.html"]


def test_another_report_changes_nothing_and_one_of_less_leaves_no_old_numbers(tmp_path, make_fit, make_test):
    folder = make_test("a")
    make_fit("b")
    out = report(tmp_path)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    report(tmp_path)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    assert len(find_runs(tmp_path)) == 2
    (folder / "run.json").unlink()
    report(tmp_path)
    assert not (out / "scores.csv").exists()


def test_what_salvit_did_not_write_is_not_overwritten(tmp_path, make_test, capsys):
    folder = make_test("a")
    (folder / "scores.csv").write_text("mine")
    with pytest.raises(SystemExit) as exit_:
        report(tmp_path, "--out", str(folder))
    assert exit_.value.code == 1
    assert "scores.csv" in capsys.readouterr().err
    assert (folder / "scores.csv").read_text() == "mine"


def test_a_single_run_can_be_reported_in_its_own_folder(tmp_path, make_test):
    folder = make_test("a")
    before = sorted(folder.iterdir())
    out = report(folder)
    assert (out / "index.html").is_file()
    assert sorted(folder.iterdir()) == sorted([*before, out])


def test_what_explain_wrote_is_reported_alone_and_beside_runs(tmp_path, vit_file, make_test, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "<i>cat.png", (40, 30))
    explain("<i>cat.png", "--model", vit_file(), "--method", "rollout", "agcam")
    page = opened(report(tmp_path / "runs"))
    assert "<i>" not in (tmp_path / "runs/report/index.html").read_text()
    assert page.headings() == ["explained", "agreement", "gallery", "attention"]
    [image] = page.data["explorers"][0]["images"]
    assert [(map_["name"], map_["of"]) for map_ in image["maps"]] == [
        ("agcam", "explain"),
        ("rollout", "explain"),
    ]
    assert page.data["galleries"][0]["methods"] == ["agcam", "rollout"]
    make_test("runs/a")
    assert opened(report(tmp_path / "runs")).headings()[:2] == ["scores", "scatter"]


def test_a_folder_without_runs_is_one_clear_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        report(tmp_path, "-q")
    assert exit_.value.code == 2
    assert "no run under" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_with_130(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("salvit.report.folder.write_report", interrupt)
    with pytest.raises(SystemExit) as exit_:
        report(tmp_path)
    assert exit_.value.code == 130


def test_names_are_text_and_a_damaged_run_does_not_stop_the_report(tmp_path, make_fit, make_test, capsys):
    for name in ("k=[/8]", "<b>"):
        make_test(name, **checkpoint_of(make_fit(name)))
    damaged = make_test("cut")
    (damaged / "run.json").write_text("{")
    with pytest.warns(UserWarning, match=f"^left out: {damaged} "):
        report(tmp_path)
    assert "k=[/8]" in capsys.readouterr().out
    page = (tmp_path / "report/index.html").read_text()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
