"""Tables in LaTeX, with the rules of the package booktabs."""

from salvit.results import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "{}$&#_%"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "…": r"\ldots{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def escaped(text: str) -> str:
    r"""Text as LaTeX shows it.

    Example:
        >>> print(escaped('<b>&"k=[/8]_%'))
        \textless{}b\textgreater{}\&\textquotedbl{}k={[}/8{]}\_\%
    """
    # A bracket after the end of a row would be its optional argument.
    special = _SPECIAL | {"[": "{[}", "]": "{]}"}
    return "".join(special.get(letter, letter) for letter in text)


def latex(table: Table) -> str:
    r"""A table as a `tabular` in a `table`: means, half intervals in small print, the best in bold, rows apart last.

    Example:
        >>> import pandas as pd
        >>> print(latex(Table("OSIE", {"CC": "↑"}, pd.DataFrame({"CC": {"ours": 0.5}}))))
        \begin{table}
          \caption{OSIE}
          \begin{tabular}{lr}
            \toprule
            model & CC $\uparrow$ \\
            \midrule
            ours & \textbf{0.500} \\
            \bottomrule
          \end{tabular}
        \end{table}
    """
    apart = [row for row in table.means.index if row in table.apart]
    rows = [row for row in table.means.index if row not in table.apart]
    lines = [
        r"\begin{table}",
        f"  \\caption{{{escaped(table.title)}}}",
        f"  \\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"    \toprule",
        _row([table.rows, *table.header]),
        r"    \midrule",
        *(_scores(table, row) for row in rows),
        *([r"    \midrule"] if apart and rows else []),
        *(_scores(table, row) for row in apart),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _scores(table: Table, row: str) -> str:
    cells = []
    for column in table.columns:
        mean, spread, best = table.cell(row, column)
        text = escaped(mean) if mean == "–" else mean.replace("-", "$-$")
        text = f"\\textbf{{{text}}}" if best else text
        cells.append(f"{text} {{\\scriptsize$\\pm${spread[1:]}}}" if spread else text)
    return f"    {' & '.join([escaped(row), *cells])} \\\\"


def _row(cells: list[str]) -> str:
    return f"    {' & '.join(map(escaped, cells))} \\\\"
