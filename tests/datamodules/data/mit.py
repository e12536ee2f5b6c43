"""A tiny MIT1003 and a tiny MIT300 in their published layouts."""

from pathlib import Path

from tests.datamodules.data.images import point_map, points, write_grey, write_image, write_noise

SIZES = ((48, 64), (64, 48), (48, 64), (40, 64), (48, 64))
STEMS = tuple(f"i{number}_static_street_p10107{number}" for number in range(1, 6))


def make_mit1003(root: Path) -> Path:
    """Five photographs with their maps as JPEGs, and the one picture that is named otherwise."""
    for seed, (stem, size) in enumerate(zip(STEMS, SIZES, strict=True)):
        maps = root / "ALLFIXATIONMAPS"
        write_image(root / f"ALLSTIMULI/{stem}.jpeg", size, seed)
        write_noise(maps / f"{stem}_fixMap.jpg", size, seed, quality=100)
        fixated = 255 * point_map(points(seed, size), size)
        write_grey(maps / f"{stem}_fixPts.jpg", fixated, quality=75)
    write_grey(maps / f"{STEMS[0]}fixPts.jpg", fixated)
    return root


def make_mit300(root: Path, numbers: tuple[int, ...] = (1, 2, 10)) -> Path:
    """Photographs of different sizes, and the pictures of another program beside them."""
    for number in numbers:
        write_image(root / f"BenchmarkIMAGES/i{number}.jpg", (20 + number, 30), number)
        write_image(root / f"BenchmarkIMAGES/SM/i{number}_SM.jpg", (20 + number, 30), number)
    return root
