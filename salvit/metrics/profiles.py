"""Profiles: which metrics make up a saliency table, and by which definitions."""

import warnings
from importlib.util import find_spec
from typing import Literal, TypeAlias, get_args

from torch import Tensor
from torchmetrics import MetricCollection

from salvit.metrics.auc import AUC
from salvit.metrics.auc_borji import AUCBorji
from salvit.metrics.auc_judd import AUCJudd
from salvit.metrics.base import PerImageMetric
from salvit.metrics.cc import CC
from salvit.metrics.emd import EMD
from salvit.metrics.functional.other_images import OtherImages
from salvit.metrics.information_gain import InformationGain
from salvit.metrics.kld import KLD
from salvit.metrics.nss import NSS
from salvit.metrics.sampled_shuffled_auc import SampledShuffledAUC
from salvit.metrics.shuffled_auc import ShuffledAUC
from salvit.metrics.sim import SIM

Profile: TypeAlias = Literal["exact", "mit", "tuebingen"]
PROFILES: tuple[Profile, ...] = get_args(Profile)


def saliency_metrics(
    pool: Tensor | None = None,
    prefix: str | None = None,
    profile: Profile = "exact",
    *,
    others: OtherImages | None = None,
    baseline: Tensor | None = None,
    seed: int = 0,
) -> MetricCollection:
    """The metrics of a profile, in the order of a table.

    - `exact`: ties count one half, every fixation counts, nothing is sampled.
    - `mit`: the MIT saliency benchmark's scripts: binary fixation maps, AUC-Judd with jitter, AUC-Borji and shuffled
      AUC from 100 seeded draws with thresholds 0.1 apart, EMD of maps 32 times smaller with matched histograms.
    - `tuebingen`: what the MIT/Tübingen benchmark computes by pysaliency from a saliency map, as it is: AUC against
      all pixels, sAUC against all other images' fixations, every fixation counts, NSS by the population's standard
      deviation, SIM without min-max. The benchmark scores IG for models of probabilities alone; here the map divided
      by its sum is read as one.

    The ground-truth density is the dataset's in all of them.

    Args:
        pool: [H, W] count map of the fixations of all images, for the shuffled AUC of `exact` and `tuebingen`; see
            `ShuffledAUC`.
        prefix: of the names under which the scores are logged.
        profile: by which definitions.
        others: the fixations of all images, for the shuffled AUC of `mit`.
        baseline: [H, W] density for the information gain of `tuebingen`; see `InformationGain`.
        seed: of the draws of `mit`.

    Returns:
        `exact`: CC, NSS, SIM, KLD, sAUC and AUC. `mit`: AUC-Judd, SIM, EMD, AUC-Borji, sAUC, CC, NSS and KLD; a
        warning says that EMD is left out where POT is not installed. `tuebingen`: IG, AUC, sAUC, NSS, CC, KLD, SIM.

    Raises:
        ValueError: There is no such profile, or it needs `others` or a `baseline`.

    Example:
        >>> list(saliency_metrics(prefix="val/"))
        ['val/CC', 'val/NSS', 'val/SIM', 'val/KLD', 'val/sAUC', 'val/AUC']
    """
    if profile == "exact":
        metrics = _exact(pool)
    elif profile == "mit":
        metrics = _mit(others, seed)
    elif profile == "tuebingen":
        metrics = _tuebingen(pool, baseline)
    else:
        raise ValueError(f"there is no profile {profile!r}; expected one of {', '.join(PROFILES)}")
    collection = MetricCollection({}, prefix=prefix, compute_groups=False)
    # One by one: several at once would be sorted by name.
    for name, metric in metrics.items():
        collection.add_metrics({name: metric})
    return collection


def _exact(pool: Tensor | None) -> dict[str, PerImageMetric]:
    return {
        "CC": CC(),
        "NSS": NSS(),
        "SIM": SIM(),
        "KLD": KLD(),
        "sAUC": ShuffledAUC(pool=pool),
        "AUC": AUC(),
    }


def _mit(others: OtherImages | None, seed: int) -> dict[str, PerImageMetric]:
    if others is None:
        raise ValueError(
            "profile mit draws fixations of other images; expected others=OtherImages(fixations, sizes) of all of them"
        )
    has_pot = find_spec("ot") is not None
    if not has_pot:
        warnings.warn(
            "EMD is left out of profile mit: it needs POT (pip install 'salvit[emd]')", stacklevel=3
        )
    return {
        "AUC-Judd": AUCJudd(seed=seed),
        "SIM": SIM(),
        **({"EMD": EMD(match_histogram=True)} if has_pot else {}),
        "AUC-Borji": AUCBorji(seed=seed),
        "sAUC": SampledShuffledAUC(others, seed=seed),
        "CC": CC(),
        "NSS": NSS(duplicates=False),
        "KLD": KLD(),
    }


def _tuebingen(pool: Tensor | None, baseline: Tensor | None) -> dict[str, PerImageMetric]:
    if baseline is None:
        raise ValueError(
            "profile tuebingen has the information gain over a baseline; expected baseline=[H, W], such as the mean "
            "density of the training set (SaliencyDataModule.center_prior)"
        )
    return {
        "IG": InformationGain(baseline),
        "AUC": AUC(),
        "sAUC": ShuffledAUC(pool=pool),
        "NSS": NSS(ddof=0),
        "CC": CC(),
        "KLD": KLD(),
        "SIM": SIM(minmax=False),
    }
