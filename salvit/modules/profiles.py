"""Metrics of one or several profiles, with what they need of a split."""

from collections.abc import Sequence
from typing import Literal

from torchmetrics import MetricCollection

from datamodules.base import SaliencyDataModule
from salvit.metrics import PROFILES, OtherImages, Profile, saliency_metrics


def check_profiles(profile: Profile | Sequence[Profile]) -> tuple[Profile, ...]:
    """The profiles to score by, each once, in order.

    Args:
        profile: one, or several.

    Raises:
        ValueError: if there is none, or one that is not known.

    Example:
        >>> check_profiles("mit"), check_profiles(["exact", "mit"])
        (('mit',), ('exact', 'mit'))
    """
    profiles = [profile] if isinstance(profile, str) else list(profile)
    if not profiles or set(profiles) - set(PROFILES):
        raise ValueError(f"profile is {profile!r}; expected one or several of {', '.join(PROFILES)}")
    return tuple(dict.fromkeys(profiles))


def split_metrics(
    data: SaliencyDataModule,
    split: Literal["val", "test"],
    profiles: Sequence[Profile],
    prefix: str | None = None,
) -> MetricCollection:
    """Metrics that score the images of a split, under one or several profiles.

    Args:
        data: gives the fixations of all images and, as the baseline of the information gain, the center prior.
        split: whose images are scored.
        profiles: by which definitions.
        prefix: of the names under which the scores are logged.

    Returns:
        Metrics by name; a name starts with "PROFILE/" unless the profile is `exact`.
    """
    dataset = data.dataset(split)
    size = dataset.size(0)
    counted = set(profiles) & {"exact", "tuebingen"}
    pool = data.fixation_counts(split, size) if counted else None
    others = _other_images(data, split) if "mit" in profiles else None
    baseline = data.center_prior(size) if "tuebingen" in profiles else None
    collection = MetricCollection({}, prefix=prefix, compute_groups=False)
    for profile in profiles:
        metrics = saliency_metrics(pool, profile=profile, others=others, baseline=baseline)
        for name, metric in metrics.items():
            collection.add_metrics({name if profile == "exact" else f"{profile}/{name}": metric})
    return collection


def by_profile(name: str) -> tuple[Profile, str]:
    """Profile and metric of a name that `split_metrics` gave.

    Args:
        name: without the prefix.

    Example:
        >>> by_profile("CC"), by_profile("mit/CC")
        (('exact', 'CC'), ('mit', 'CC'))
    """
    profile, _, metric = name.rpartition("/")
    [found] = check_profiles(profile or "exact")  # type: ignore[arg-type]
    return found, metric


def _other_images(data: SaliencyDataModule, split: Literal["val", "test"]) -> OtherImages:
    dataset = data.dataset(split)
    images = range(len(dataset))
    return OtherImages(
        [dataset.fixations(image) for image in images], [dataset.size(image) for image in images]
    )
