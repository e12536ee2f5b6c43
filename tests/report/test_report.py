import re

import pytest
from PIL import Image

from salvit.report.__main__ import main
from salvit.report.runs import find_runs
from tests.report.conftest import checkpoint_of


def test_the_report_of_a_fit_and_its_test_has_all_parts(tmp_path, make_fit, make_test, capsys):
    fit = make_fit("raw_attention")
    folder = make_test("raw_attention", **checkpoint_of(fit))
    main([str(tmp_path), "--title", "a <b> title"])
    page = (tmp_path / "index.html").read_text()
    assert "<h1>a &lt;b&gt; title</h1>" in page
    for part in ("Scores", "Pictures", "Training curves", "How these were made"):
        assert f"<h2>{part}</h2>" in page
    assert "seed 7" in page
    assert "2 min 30 s in all on CPU" in page
    assert "torch 2.15.0" in page
    assert f"<tr><td>tiny · raw_attention<small>{folder}</small></td>" in page
    assert "<td class=best>0.600<small>± 0.100</small></td>" in page
    assert "<tr class=baseline><td>center prior" in page
    assert "KLD ↓" in page
    assert "0.600" in capsys.readouterr().out
    assert Image.open(tmp_path / "pictures.png").size == (40, 22 + 30 + 6)
    assert Image.open(tmp_path / "curves.png").width > 400
    title = "PopOut, test split, 2 images, profile exact (KLD in nats, NSS in standard deviations)"
    assert (tmp_path / "scores.md").read_text().startswith(f"{title}\n\n| model |")


def test_the_page_links_to_nothing_and_commands_are_text(tmp_path, make_fit, make_test):
    make_fit("a", command="salvit fit --data.root '<img src=x>'")
    make_test("a")
    main([str(tmp_path)])
    page = (tmp_path / "index.html").read_text()
    assert set(re.findall(r'(?:src|href)="([a-z]+:)', page)) == {"data:"}
    assert not re.search(r"https?://|@import|<script|<link", page)
    assert "<img" not in page.replace('<img src="data:', "")
    assert "&lt;img" in page


@pytest.mark.parametrize("finished", [True, False])
def test_a_fit_alone_has_no_scores_or_pictures_and_one_that_logged_nothing_no_curves(
    tmp_path, make_fit, make_run, finished
):
    if finished:
        make_fit("a")
    else:
        make_run("a", "version_0", "fit", seconds=None)
    main([str(tmp_path)])
    page = (tmp_path / "index.html").read_text()
    assert ("<h2>Training curves</h2>" in page) == finished
    assert ("unfinished" in page) != finished
    assert "<h2>Scores</h2>" not in page
    assert "<h2>Pictures</h2>" not in page
    assert not (tmp_path / "pictures.png").exists()
    assert not (tmp_path / "scores.md").exists()


def test_pictures_of_models_are_side_by_side_and_another_report_changes_nothing(tmp_path, make_test):
    make_test("a")
    make_test("b")
    main([str(tmp_path)])
    assert Image.open(tmp_path / "pictures.png").size == (40 + 6 + 40, 22 + 30 + 6)
    first = (tmp_path / "index.html").read_text()
    main([str(tmp_path)])
    assert (tmp_path / "index.html").read_text() == first
    assert len(find_runs(tmp_path)) == 2


def test_a_folder_without_runs_is_one_clear_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([str(tmp_path), "-q"])
    assert exit_.value.code == 2
    assert "no run under" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_with_130(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("salvit.report.__main__.write_report", interrupt)
    with pytest.raises(SystemExit) as exit_:
        main([str(tmp_path)])
    assert exit_.value.code == 130
