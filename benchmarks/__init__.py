"""Costs as ratios, each pair measured in turn in one run, beside peers that do the same thing."""
