"""One small picture in every format, bit depth and kind of pixels, written with as little help as possible.

A writer takes the path, the picture as stored (grey levels in [0, 1], [H, W]) and an orientation, and returns the
8-bit RGB pixels that a viewer shows of it before it is turned.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
Writer = Callable[[Path, np.ndarray, int], np.ndarray]

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""From pixels as stored to upright ones, by EXIF's definition of each orientation."""


def grey_rgb(levels):
    return np.repeat(np.round(255 * levels).astype(np.uint8)[..., None], 3, axis=-1)


def colours(levels):
    """RGB in [0, 1] in which no channel is another."""
    return np.stack([levels, 1 - levels, levels**2], axis=-1)


def _bits_of(values, bits):
    """Values [H, W, C] as rows of bytes, most significant bit first, or little-endian from 16 bits on."""
    flat = values.reshape(len(values), -1)
    if bits >= 16:
        return flat.astype(f"<u{bits // 8}").tobytes()
    digits = (flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(digits.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def write_tiff(path, values, bits, photometric, orientation=1, sample_format=1, extra=None, colormap=None):
    """Uncompressed, in one strip, little-endian; `values` are integers [H, W] or [H, W, C]."""
    values = values[..., None] if values.ndim == 2 else values
    height, width, samples = values.shape
    data = _bits_of(values, bits)
    long = {256: [width], 257: [height], 273: [8], 278: [height], 279: [len(data)]}
    short = {258: [bits] * samples, 259: [1], 262: [photometric], ORIENTATION: [orientation], 277: [samples]}
    short |= {320: colormap or [], 338: [] if extra is None else [extra], 339: [sample_format] * samples}
    entries = {tag: numbers for tag, numbers in (long | short).items() if numbers}
    start = 8 + len(data) + len(data) % 2
    spare, far = start + 2 + 12 * len(entries) + 4, b""
    table = struct.pack("<H", len(entries))
    for tag, numbers in sorted(entries.items()):
        content = struct.pack(f"<{len(numbers)}{'I' if tag in long else 'H'}", *numbers)
        if len(content) > 4:
            content, far = struct.pack("<I", spare + len(far)), far + content
        table += struct.pack("<HHI", tag, 4 if tag in long else 3, len(numbers)) + content.ljust(4, b"\0")
    header = b"II*\0" + struct.pack("<I", start)
    path.write_bytes(header + data + b"\0" * (len(data) % 2) + table + b"\0\0\0\0" + far)


def tiff_grey(bits, white_is_zero=False, extra=None) -> Writer:
    def write(path, levels, orientation):
        top = 2**bits - 1
        stored = np.round(top * levels).astype(np.int64)
        values = top - stored if white_is_zero else stored
        if extra is not None:  # opaque
            values = np.stack([values, np.full_like(values, top)], axis=-1)
        write_tiff(path, values, bits, int(not white_is_zero), orientation, extra=extra)
        return grey_rgb(stored / top)

    return write


def tiff_rgb(bits, alpha=False) -> Writer:
    def write(path, levels, orientation):
        rgb = colours(levels)
        values = np.round((2**bits - 1) * rgb).astype(np.int64)
        if alpha:
            opacity = np.where(levels > 0.5, 1, 0)[..., None]
            values = np.concatenate([values, (2**bits - 1) * opacity], axis=-1)
            rgb = opacity * rgb + 1 - opacity
        write_tiff(path, values, bits, 2, orientation, extra=2 if alpha else None)
        return np.round(255 * rgb).astype(np.uint8)

    return write


def tiff_cmyk(path, levels, orientation):
    rgb = colours(levels)
    values = np.round(255 * np.concatenate([1 - rgb, np.zeros_like(rgb[..., :1])], axis=-1)).astype(np.int64)
    write_tiff(path, values, 8, 5, orientation)
    return (255 - values[..., :3]).astype(np.uint8)


def tiff_palette(path, levels, orientation):
    palette = np.random.default_rng(0).integers(0, 256, (256, 3))
    indices = np.round(255 * levels).astype(np.int64)
    write_tiff(path, indices, 8, 3, orientation, colormap=(palette.T * 257).ravel().tolist())
    return palette[indices].astype(np.uint8)


def by_pillow(mode, **options) -> Writer:
    """What Pillow writes, with the orientation in EXIF where it is not 1."""

    def write(path, levels, orientation):
        if mode in ("RGB", "RGBA", "CMYK"):
            rgb = np.round(255 * colours(levels)).astype(np.uint8)
            image = Image.fromarray(rgb)
        else:
            rgb = grey_rgb(levels > 0.5 if mode == "1" else levels)
            image = Image.fromarray(rgb[..., 0].copy())
        if mode == "I;16":
            image = Image.fromarray(np.round(65535 * levels).astype(np.uint16))
        elif mode in ("RGBA", "LA"):
            clear = levels > 0.5
            image.putalpha(Image.fromarray(np.where(clear, 0, 255).astype(np.uint8)))
            rgb = np.where(clear[..., None], 255, rgb).astype(np.uint8)
        elif mode == "CMYK":
            channels = np.concatenate([255 - rgb, np.zeros_like(rgb[..., :1])], axis=-1)
            image = Image.frombytes("CMYK", image.size, channels.tobytes())
        elif mode == "P":
            image = image.quantize(256)
            rgb = np.asarray(image.convert("RGB"))
        elif mode == "1":
            image = image.convert("1")
        exif = image.getexif()
        exif[ORIENTATION] = orientation
        image.save(path, **({} if orientation == 1 else {"exif": exif}), **options)
        return rgb

    return write


TURNED: dict[str, tuple[str, Writer, int]] = {
    "TIFF 1 BlackIsZero": ("tif", tiff_grey(1), 0),
    "TIFF 1 WhiteIsZero": ("tif", tiff_grey(1, white_is_zero=True), 0),
    "TIFF 4 BlackIsZero": ("tif", tiff_grey(4), 0),
    "TIFF 8 BlackIsZero": ("tif", tiff_grey(8), 0),
    "TIFF 8 WhiteIsZero": ("tif", tiff_grey(8, white_is_zero=True), 0),
    "TIFF 12 BlackIsZero": ("tif", tiff_grey(12), 0),
    "TIFF 16 BlackIsZero": ("tif", tiff_grey(16), 0),
    "TIFF 16 WhiteIsZero": ("tiff", tiff_grey(16, white_is_zero=True), 0),
    "TIFF 16 deflated": ("tif", by_pillow("I;16", compression="tiff_deflate"), 0),
    "TIFF 8 grey and alpha": ("tif", tiff_grey(8, extra=2), 0),
    "TIFF RGB": ("tif", tiff_rgb(8), 0),
    "TIFF RGB 16": ("tif", tiff_rgb(16), 1),
    "TIFF RGBA": ("tif", tiff_rgb(8, alpha=True), 0),
    "TIFF palette": ("tif", tiff_palette, 0),
    "TIFF CMYK": ("tif", tiff_cmyk, 0),
    "PNG 1": ("png", by_pillow("1"), 0),
    "PNG 16": ("png", by_pillow("I;16"), 0),
    "PNG grey and alpha": ("png", by_pillow("LA"), 0),
    "PNG palette": ("PNG", by_pillow("P"), 0),
    "PNG RGB": ("png", by_pillow("RGB"), 0),
    "PNG RGBA": ("png", by_pillow("RGBA"), 0),
    "JPEG RGB": ("jpe", by_pillow("RGB", quality=100, subsampling=0), 8),
    "JPEG CMYK": ("jpg", by_pillow("CMYK", quality=100, subsampling=0), 8),
    "WebP RGBA": ("webp", by_pillow("RGBA", lossless=True), 0),
    "AVIF RGB": ("avif", by_pillow("RGB", quality=100, subsampling="4:4:4"), 8),
}
"""Formats that tell which side is up: suffix, writer, and how far a lossy or truncated value may be off."""

AS_STORED: dict[str, tuple[str, Writer, int]] = {
    "BMP RGB": ("bmp", by_pillow("RGB"), 0),
    "GIF palette": ("gif", by_pillow("P"), 0),
    "PBM": ("pbm", by_pillow("1"), 0),
    "PGM 16": ("pgm", by_pillow("I;16"), 0),
    "JPEG 2000 16": ("jp2", by_pillow("I;16", irreversible=False), 0),
}
"""Formats that do not."""
