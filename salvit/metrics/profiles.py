"""Profiles: which metrics make up a saliency table, and by which definitions."""

import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from salvit.errors import InvalidValueError
from salvit.metrics.auc import AUC, AUCBorji, AUCJudd, SampledShuffledAUC, ShuffledAUC
from salvit.metrics.base import SaliencyMetric, scored_images
from salvit.metrics.functional.fixations import OtherImages
from salvit.metrics.saliency import CC, EMD, KLD, NSS, SIM, InformationGain

if TYPE_CHECKING:
    from datamodules.base import SaliencyDataModule

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

    - `exact`: ties count one half, every fixation counts, nothing is sampled: CC, NSS, SIM, KLD, sAUC and AUC.
    - `mit`: the scripts of the MIT saliency benchmark: AUC-Judd with jitter, SIM, EMD of maps 32 times smaller with
      matched histograms, AUC-Borji and sAUC from 100 seeded draws with thresholds 0.1 apart, CC, NSS of binary fixation
      maps, KLD. Without POT, EMD is left out with a warning.
    - `tuebingen`: what the MIT/Tübingen benchmark computes by pysaliency from a saliency map: IG, AUC against all
      pixels, sAUC against all other images' fixations, NSS by the standard deviation of the population, CC, KLD, SIM
      without min-max. The benchmark scores IG only for models of probabilities; here the map divided by its sum is one.

    All of them use the density of the dataset.

    Args:
        pool: [H, W] count map of the fixations of all images, for the shuffled AUC of `exact` and `tuebingen`.
        prefix: prefix of the names under which the scores are logged.
        profile: the definitions, see above.
        others: the fixations of all images, for the shuffled AUC of `mit`.
        baseline: [H, W] density for the information gain of `tuebingen`.
        seed: seed of the draws of `mit`.

    Raises:
        ValueError: There is no such profile, or it needs `others` or a `baseline`.

    Example:
        >>> list(saliency_metrics(prefix="val/"))
        ['val/CC', 'val/NSS', 'val/SIM', 'val/KLD', 'val/sAUC', 'val/AUC']
    """
    metrics: list[SaliencyMetric]
    if profile == "exact":
        metrics = [CC(), NSS(), SIM(), KLD(), ShuffledAUC(pool), AUC()]
    elif profile == "mit":
        metrics = _mit(others, seed)
    elif profile != "tuebingen":
        raise InvalidValueError(f"there is no profile {profile!r}; expected one of {', '.join(PROFILES)}")
    elif baseline is None:
        raise InvalidValueError(
            "profile tuebingen has the information gain over a baseline; expected baseline=[H, W], such as the mean "
            "density of the training set (SaliencyDataModule.center_prior)"
        )
    else:
        gain = InformationGain(baseline)
        metrics = [gain, AUC(), ShuffledAUC(pool), NSS(ddof=0), CC(), KLD(), SIM(minmax=False)]
    return _in_order({next(iter(metric.columns)): metric for metric in metrics}, prefix)


def check_profiles(profile: Profile | Sequence[Profile]) -> tuple[Profile, ...]:
    """The profiles to score by, one or several, each once, in order.

    Raises:
        ValueError: There is none, or one that is not known.

    Example:
        >>> check_profiles("mit"), check_profiles(["exact", "mit", "exact"])
        (('mit',), ('exact', 'mit'))
    """
    profiles = [profile] if isinstance(profile, str) else list(profile)
    if not profiles or set(profiles) - set(PROFILES):
        raise InvalidValueError(f"profile is {profile!r}; expected one or several of {', '.join(PROFILES)}")
    return tuple(dict.fromkeys(profiles))


def split_metrics(
    data: "SaliencyDataModule",
    split: Literal["val", "test"],
    profiles: Sequence[Profile],
    prefix: str | None = None,
) -> MetricCollection:
    """Metrics that score the images of a split, under one or several profiles.

    Names start with "PROFILE/" unless the profile is `exact`. The datamodule gives the fixations of all images and, as
    the baseline of the information gain, the center prior.
    """
    dataset = data.dataset(split)
    size, images = dataset.size(0), range(len(dataset))
    pool = others = None
    if {"exact", "tuebingen"} & set(profiles):
        pool = data.fixation_counts(split, size)
    if "mit" in profiles:
        others = OtherImages([dataset.fixations(i) for i in images], [dataset.size(i) for i in images])
    baseline = data.center_prior(size) if "tuebingen" in profiles else None
    metrics: dict[str, Any] = {}
    for profile in profiles:
        start = "" if profile == "exact" else f"{profile}/"
        of_profile = saliency_metrics(pool, profile=profile, others=others, baseline=baseline)
        metrics |= {start + name: metric for name, metric in of_profile.items()}
    return _in_order(metrics, prefix)


@torch.compiler.disable  # a module that is compiled scores with NumPy, too
def update_metrics(metrics: MetricCollection, pred: Tensor, batch: Mapping[str, Any]) -> None:
    """Score predictions at the native size of their stimuli, one by one since sizes may differ.

    Every metric skips an image without fixations or with an empty density: all columns of a table are means over the
    same images.

    Args:
        metrics: from `saliency_metrics`.
        pred: [B, H, W] on any grid; resized (bilinear), the ground truth never is.
        batch: `size`, `density` and `fixations` of the batch of a saliency datamodule.

    Example:
        >>> metrics, density = saliency_metrics(), torch.tensor([[0.0, 1.0]])
        >>> batch = {"size": [(1, 2)], "density": [density], "fixations": [torch.tensor([[1.0, 0.0]])]}
        >>> update_metrics(metrics, density[None], batch)
        >>> metrics["CC"].compute()
        tensor(1.)
    """
    for image, truth in scored_images(pred, batch):
        for metric in metrics.values():
            assert isinstance(metric, SaliencyMetric)
            if truth:
                metric.update(image, truth[metric.truth])
            else:
                metric.skip()


def by_profile(metrics: MetricCollection) -> dict[str, list[SaliencyMetric]]:
    """The metrics of each profile, from the metrics of `split_metrics`.

    Example:
        >>> {profile: len(metrics) for profile, metrics in by_profile(saliency_metrics()).items()}
        {'exact': 6}
    """
    profiles: dict[str, list[SaliencyMetric]] = {}
    for name, metric in metrics.items(keep_base=True):
        assert isinstance(metric, SaliencyMetric)
        profiles.setdefault(name.rpartition("/")[0] or "exact", []).append(metric)
    return profiles


def _mit(others: OtherImages | None, seed: int) -> list[SaliencyMetric]:
    if others is None:
        raise InvalidValueError(
            "profile mit draws fixations of other images; expected others=OtherImages(fixations, sizes) of all of them"
        )
    has_pot = find_spec("ot") is not None
    if not has_pot:
        warnings.warn(
            "EMD is left out of profile mit: it needs POT (pip install 'salvit[emd]')", stacklevel=3
        )
    return [
        AUCJudd(seed=seed),
        SIM(),
        *([EMD(match_histogram=True)] if has_pot else []),
        AUCBorji(seed=seed),
        SampledShuffledAUC(others, seed=seed),
        CC(),
        NSS(duplicates=False),
        KLD(),
    ]


def _in_order(metrics: Mapping[str, Any], prefix: str | None) -> MetricCollection:
    collection = MetricCollection({}, prefix=prefix, compute_groups=False)
    for name, metric in metrics.items():
        collection.add_metrics({name: metric})  # one by one: several at once would be sorted by name
    return collection
