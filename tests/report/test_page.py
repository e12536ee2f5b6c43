import re
from importlib.resources import files

import numpy as np
import pytest

from salvit.report.page import _tint

CSS = files("salvit.report").joinpath("parts/page.css").read_text(encoding="utf-8")


def luminance(colour):
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """The ratio of WCAG 2.1, of colours like #1d2129."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_ratio_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("value", np.linspace(-1, 1, 81))
def test_numbers_of_a_matrix_can_be_read_on_their_colour(value):
    back, ink = re.findall("#[0-9a-f]+", _tint(value))
    assert contrast(back, {"#000": "#000000", "#fff": "#ffffff"}[ink]) >= 4.5


@pytest.mark.parametrize("scheme", [0, 1])
def test_lines_edges_and_focus_stand_out_in_light_and_dark(scheme):
    colours = dict(
        re.findall(r"--(\w+): (#[0-9a-f]{6})", CSS.split("@media (prefers-color-scheme: dark)")[scheme])
    )
    for name in ("edge", "focus", *(f"s{index}" for index in range(8))):
        assert contrast(colours[name], colours["paper"]) >= 3, name
    for back in ("paper", "ground", "raised"):
        for ink in ("ink", "soft", "accent"):
            assert contrast(colours[ink], colours[back]) >= 4.5, (ink, back)
