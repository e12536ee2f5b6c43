import io

import pytest
from rich.console import Console

from salvit.report.methods_table import Cell, MethodsTable

COLUMNS = {"CC": "↑", "MaxBoxAccV2": "↑", "MoRF": "↓"}
ROWS = {
    "agcam": {"CC": Cell(0.5, 0.4, 0.6), "MaxBoxAccV2": Cell(0.25), "MoRF": Cell(0.125)},
    "relevance_lrp": {"CC": Cell(0.75), "MaxBoxAccV2": Cell(float("nan")), "MoRF": Cell(0.5)},
    "agcam, published": {"CC": Cell(0.9), "MoRF": Cell(0.1)},
}


@pytest.fixture
def table():
    return MethodsTable("what is scored", COLUMNS, ROWS, frozenset({"agcam, published"}))


def test_markdown(table):
    assert table.markdown() == (
        "**what is scored**\n\n"
        "| method | CC ↑ | MaxBoxAccV2 ↑ | MoRF ↓ |\n|---|---|---|---|\n"
        "| agcam | 0.500 ±0.100 | **0.250** | **0.125** |\n"
        "| relevance_lrp | **0.750** | – | 0.500 |\n"
        "| agcam, published | 0.900 | – | 0.100 |"
    )


@pytest.mark.parametrize(("width", "tables"), [(200, 1), (48, 2), (36, 3)])
def test_no_column_is_ever_cut_off_in_a_terminal(table, width, tables):
    text = io.StringIO()
    console = Console(file=text, width=width)
    parts = table.terminal(console.width)
    console.print(*parts, sep="\n")
    printed = text.getvalue()
    assert len(parts) == tables
    assert "…" not in printed
    assert printed.count("agcam, published") == tables
    for word in ("what is scored", "MaxBoxAccV2 ↑", "0.500 ±0.100", "0.250", "0.125", "0.900"):
        assert word in printed
