"""Batched CP decomposition (CANDECOMP/PARAFAC), free in sign or non-negative."""

from salvit.extractors.cp.decompose import CPDecomposition, cp_als

__all__ = ["CPDecomposition", "cp_als"]
