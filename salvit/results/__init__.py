"""The record of results: rows of scores, tables made of them, and the files that both are kept in."""

from salvit.results.files import encoded, read_csv, write
from salvit.results.rows import collect, differences, gathered, means, per_image, summary
from salvit.results.store import Store
from salvit.results.table import Table, describe, facts, title

__all__ = [
    "Store",
    "Table",
    "collect",
    "describe",
    "differences",
    "encoded",
    "facts",
    "gathered",
    "means",
    "per_image",
    "read_csv",
    "summary",
    "title",
    "write",
]
