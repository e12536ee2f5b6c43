"""Render a batch of scenes: textured background, antialiased items, masks."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from datamodules.popout.scene import SHAPES, Scenes

Outline = Callable[[Tensor, Tensor], Tensor]


def render(scenes: Scenes) -> tuple[Tensor, Tensor, Tensor]:
    """Render images, target masks and item maps.

    Returns:
        Images [B, 3, H, W] float32 RGB in [0, 1]; masks of the targets [B, H, W] float32 in {0, 1}; item maps
        [B, H, W] uint8, 0 on the ground and 1 + index into `SHAPES` on every item.
    """
    canvas = _background(scenes)
    window = _Windows(scenes)
    alpha, paint = _paint(scenes, window)
    shape = torch.from_numpy(scenes.shape)[torch.from_numpy(scenes.present)]
    inside = (alpha > 0.5).float()
    layers = [alpha, inside * window.is_target[:, None, None], inside * (shape[:, None, None] + 1)]
    painted = window.scatter(torch.cat([alpha[:, None] * paint, torch.stack(layers, dim=1)], dim=1))
    ink, (cover, target, items) = painted[:, :3], painted[:, 3:].unbind(1)
    images = (canvas * (1 - cover[:, None]) + ink).clamp_(0, 1)
    return images, target, items.to(torch.uint8)


def _background(scenes: Scenes) -> Tensor:
    """Coloured noise with an amplitude spectrum f^-slope, stretched along the grain: [B, 3, H, W]."""
    height, width = scenes.size
    fy = torch.fft.fftfreq(height)[:, None]
    fx = torch.fft.rfftfreq(width)[None, :]
    angle, strength = torch.from_numpy(scenes.grain).unbind(1)
    along = torch.cos(angle)[:, None, None] * fx + torch.sin(angle)[:, None, None] * fy
    frequency = (fx**2 + fy**2).sqrt()[None]
    stretched = (frequency**2 + (4 * strength[:, None, None] * along) ** 2).sqrt()
    gain = stretched.clamp_min(1 / max(height, width)) ** -torch.from_numpy(scenes.slope)[:, None, None]
    gain[:, 0, 0] = 0
    gain = gain / gain.square().mean(dim=(1, 2), keepdim=True).sqrt()
    spectrum = torch.fft.rfft2(torch.from_numpy(scenes.noise)) * gain[:, None]
    noise = torch.fft.irfft2(spectrum, s=scenes.size)
    colour = torch.einsum("bij,bjhw->bihw", torch.from_numpy(scenes.mixing), noise)
    return torch.from_numpy(scenes.ground)[:, :, None, None] + colour


class _Windows:
    """The square window of pixels around every item that is present; N items in all."""

    def __init__(self, scenes: Scenes) -> None:
        present = torch.from_numpy(scenes.present)
        self.batch = len(scenes.count)
        self.size = scenes.size
        self.display, slot = present.nonzero(as_tuple=True)
        self.is_target = (slot == 0).float()
        self.centre = torch.from_numpy(scenes.centre)[present]
        self.radius = torch.from_numpy(scenes.radius)[present]
        reach = math.ceil(float(self.radius.max())) + 2
        steps = torch.arange(-reach, reach + 1)
        corner = self.centre.round().long()
        self.x = (corner[:, 0, None] + steps)[:, None, :].expand(-1, len(steps), -1)
        self.y = (corner[:, 1, None] + steps)[:, :, None].expand(-1, -1, len(steps))

    def local(self) -> tuple[Tensor, Tensor]:
        """Coordinates [N, w, w] relative to the items' centres, in radii."""
        (x, y), scale = self.centre[:, :, None, None].unbind(1), self.radius[:, None, None]
        return (self.x - x) / scale, (self.y - y) / scale

    def scatter(self, values: Tensor) -> Tensor:
        """Add [N, C, w, w] into [B, C, H, W]; what lies outside the image is dropped."""
        height, width = self.size
        inside = (self.x >= 0) & (self.x < width) & (self.y >= 0) & (self.y < height)
        display = self.display[:, None, None].expand_as(self.x)
        flat = ((display * height + self.y) * width + self.x)[inside]
        out = torch.zeros(values.shape[1], self.batch * height * width)
        out.index_add_(1, flat, values.transpose(0, 1)[:, inside])
        return out.reshape(values.shape[1], self.batch, height, width).transpose(0, 1)


def _paint(scenes: Scenes, window: _Windows) -> tuple[Tensor, Tensor]:
    """Coverage [N, w, w] in [0, 1] and colour [N, 3, w, w] of the items."""
    present = torch.from_numpy(scenes.present)
    u, v = window.local()
    shape, tilt, stripes = (
        torch.from_numpy(values)[present] for values in (scenes.shape, scenes.tilt, scenes.stripes)
    )
    alpha = _coverage(shape, *_rotate(u, v, tilt), window)
    across, _ = _rotate(u, v, stripes)
    depth = torch.from_numpy(scenes.stripe_depth)[window.display][:, None, None]
    shade = 1 - 0.5 * depth * (1 + torch.sin(across * 2.2 * math.pi))
    ink = torch.from_numpy(scenes.colour)[present][:, :, None, None]
    ground = torch.from_numpy(scenes.ground)[window.display][:, :, None, None]
    return alpha, ground + (ink - ground) * shade[:, None]


def _rotate(u: Tensor, v: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    c, s = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    return c * u + s * v, c * v - s * u


def _coverage(shape: Tensor, u: Tensor, v: Tensor, window: _Windows) -> Tensor:
    distance = torch.empty_like(u)
    for kind in shape.unique().tolist():
        rows = shape == kind
        distance[rows] = OUTLINES[SHAPES[kind]](u[rows], v[rows])
    # One pixel of ramp around the outline is the antialiasing.
    return (0.5 - distance * window.radius[:, None, None]).clamp(0, 1)


# Outlines: approximate signed distance in radii, negative inside, v pointing down. At the tilts that occur no figure
# reaches further than a radius to any side, so that items never touch.


def _star(u: Tensor, v: Tensor) -> Tensor:
    sector = 2 * math.pi / 5
    angle = torch.remainder(torch.atan2(u, -v) + sector / 2, sector) - sector / 2
    tip = 1 - angle.abs() / (sector / 2)
    return (torch.hypot(u, v) - (0.4 + 0.6 * tip)) * 0.6


def _heart(u: Tensor, v: Tensor) -> Tensor:
    a = u.abs()
    lobes = torch.hypot(a - 0.42, v + 0.32) - 0.5
    wedge = torch.maximum(0.72 * a + 0.69 * v - 0.58, 0.02 - v)
    return torch.minimum(lobes, wedge)


def _arrow(u: Tensor, v: Tensor) -> Tensor:
    head = torch.maximum(-u + 0.05, 0.75 * (v.abs() + u - 0.95))
    shaft = _box(u, v, 0.9, 0.25)
    return torch.minimum(head, torch.maximum(shaft, u - 0.4))


def _box(u: Tensor, v: Tensor, width: float, height: float) -> Tensor:
    return torch.maximum(u.abs() - width, v.abs() - height)


OUTLINES: dict[str, Outline] = {
    "disc": lambda u, v: torch.hypot(u, v) - 0.9,
    "ring": lambda u, v: (torch.hypot(u, v) - 0.7).abs() - 0.22,
    "square": lambda u, v: _box(u, v, 0.78, 0.78),
    "triangle": lambda u, v: torch.maximum(v - 0.55, 0.87 * u.abs() - 0.5 * v - 0.46),
    "cross": lambda u, v: torch.minimum(_box(u, v, 0.95, 0.3), _box(u, v, 0.3, 0.95)),
    "star": _star,
    "heart": _heart,
    "crescent": lambda u, v: torch.maximum(torch.hypot(u, v) - 0.95, 0.72 - torch.hypot(u - 0.5, v)),
    "hourglass": lambda u, v: torch.maximum(v.abs() - 0.75, 0.75 * (u.abs() - 0.9 * v.abs() - 0.05)),
    "arrow": _arrow,
}
