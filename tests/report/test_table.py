import io

from rich.console import Console

from salvit.report.table import cells, markdown_table, terminal_table

ROWS = {
    "ours": {"CC": 0.5, "KLD": 0.8, "sAUC": 0.7},
    "center prior": {"CC": 0.3, "KLD": 1.3, "sAUC": 0.5},
    "random": {"CC": -0.0001, "KLD": 2.0},
}


def test_higher_is_best_but_for_divergence():
    table = markdown_table(ROWS).splitlines()
    assert table[2] == "| ours | **0.500** | – | – | **0.800** | **0.700** | – |"
    assert table[3] == "| center prior | 0.300 | – | – | 1.300 | 0.500 | – |"


def test_what_rounds_to_zero_has_no_sign():
    assert cells(ROWS["random"], ROWS)[0] == ("0.000", False)


def test_equal_scores_are_equally_good():
    rows = {"a": {"CC": 0.5}, "b": {"CC": 0.5}}
    assert cells(rows["a"], rows)[0] == cells(rows["b"], rows)[0] == ("0.500", True)


def test_the_terminal_shows_title_directions_and_every_row():
    console = Console(file=io.StringIO(), width=100)
    console.print(terminal_table(ROWS, "OSIE, 100 images"))
    text = console.file.getvalue()
    for part in ("OSIE, 100 images", "CC ↑", "KLD ↓", "center prior", "1.300", "–"):
        assert part in text
