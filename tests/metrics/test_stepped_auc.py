import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics.functional.auc import stepped_auc, thresholds
from tests.metrics import mit_reference
from tests.metrics.cases import examples

# Away from multiples of the step, where rounding decides.
values = st.floats(0.001, 1).filter(lambda value: abs(value * 10 - round(value * 10)) > 1e-9)


@examples
@given(st.lists(values, min_size=1, max_size=6), st.lists(values, min_size=4, max_size=4))
def test_agrees_with_the_script(positives, negatives):
    splits = [negatives[:2], negatives[2:]]
    expected = np.mean([mit_reference.stepped(positives, split, 0.1) for split in splits])
    assert stepped_auc(np.array(positives), np.array(splits), 0.1) == pytest.approx(expected, abs=1e-12)


def test_thresholds_of_eight_bits_are_met():
    """A value of 153/255 is 0.6, which 6 · 0.1 exceeds."""
    assert stepped_auc(np.array([153 / 255, 1.0]), np.array([[0.55, 0.55]]), 0.1) == 1


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (0.0, [0]),
        (0.05, [0]),
        (0.3, [0, 0.1, 0.2, 0.3]),
        (1.0, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
    ],
)
def test_thresholds(top, expected):
    np.testing.assert_allclose(thresholds(top, 0.1), expected, atol=1e-15)
    assert thresholds(top, 0.1)[-1] <= top


def test_negatives_at_the_positives_level_share_the_area():
    assert stepped_auc(np.array([0.55]), np.array([[0.55]]), 0.1) == 0.5
