import io

import pandas as pd
import pytest
from rich.console import Console

from salvit.results import Table

COLUMNS = {"CC": "↑", "MaxBoxAccV2": "↑", "MoRF": "↓"}
MEANS = pd.DataFrame(
    {
        "CC": {"agcam": 0.5, "relevance_lrp": 0.75, "agcam, published": 0.9},
        "MaxBoxAccV2": {"agcam": 0.25},
        "MoRF": {"agcam": 0.125, "relevance_lrp": 0.5, "agcam, published": 0.1},
    }
)
SPREAD = pd.DataFrame({"CC": {"agcam": 0.1}}).reindex(MEANS.index, columns=MEANS.columns)


@pytest.fixture
def table():
    return Table("what is scored", COLUMNS, MEANS, SPREAD, "method", ["agcam, published"])


def test_markdown(table):
    assert table.markdown() == (
        "| method | CC ↑ | MaxBoxAccV2 ↑ | MoRF ↓ |\n|---|---|---|---|\n"
        "| agcam | 0.500 ±0.100 | **0.250** | **0.125** |\n"
        "| relevance_lrp | **0.750** | – | 0.500 |\n"
        "| agcam, published | 0.900 | – | 0.100 |"
    )
    assert "±" not in table.markdown(spread=False)


def test_equal_scores_are_equally_good_zero_has_no_sign_and_brackets_are_no_markup():
    table = Table("", {"CC": "↑"}, pd.DataFrame({"CC": {"a": -0.0001, "b[bold]": -0.0001}}))
    assert table.cell("a", "CC") == table.cell("b[bold]", "CC") == ("0.000", "", True)
    assert "b[bold]" in printed(table, 99)[0]
    titled = Table("k=[/8]", {"[/CC]": "↑"}, pd.DataFrame({"[/CC]": {"a": 1.0}}))
    assert "k=[/8]" in (text := printed(titled, 99)[0])
    assert "[/CC] ↑" in text


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    parts = table.terminal(console.width)
    console.print(*parts, sep="\n")
    return console.file.getvalue(), len(parts)


@pytest.mark.parametrize(("width", "tables"), [(200, 1), (48, 2), (36, 3)])
def test_no_column_is_ever_cut_off_in_a_terminal(table, width, tables):
    text, count = printed(table, width)
    assert count == tables
    assert "…" not in text
    assert text.count("agcam, published") == tables
    for word in ("what is scored", "MaxBoxAccV2 ↑", "0.500 ±0.100", "0.250", "0.125", "0.900"):
        assert word in text


def test_a_long_name_takes_no_room_from_the_numbers():
    name = "vit_small_patch14_dinov2 with weights vit_small_patch14_dinov2.saliency.safetensors"
    means = pd.DataFrame({"CC": {name: 0.5}, "MoRF": {name: 0.25}})
    text, _ = printed(Table("", {"CC": "↑", "MoRF": "↓"}, means), 80)
    assert "0.500" in text
    assert "0.250" in text
    assert "…" not in text
    assert text.count("CC ↑") == text.count("MoRF ↓") == 1


def test_names_are_text_in_markdown():
    table = Table("", {"a|b": "↑"}, pd.DataFrame({"a|b": {'<b>*&"k=[/8]': 0.5}}))
    assert table.markdown().splitlines() == [
        r"| model | a\|b ↑ |",
        "|---|---|",
        r'| \<b>\*&"k=[/8] | **0.500** |',
    ]
