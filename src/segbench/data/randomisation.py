"""Domain randomisation: endless domains to train on, drawn from ranges that a recipe widens family by family."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from segbench.data.annotator import Annotator
from segbench.data.domains import Domain
from segbench.data.geometry import Geometry
from segbench.data.tomograph import Scan

Family = Literal["geometry", "contrast", "texture", "artefacts"]
# how often a family is drawn wide: most of what is learned stays near to usual scans, contrast varies most among them
WIDE: dict[Family, float] = {"geometry": 0.25, "contrast": 0.5, "texture": 0.25, "artefacts": 0.25}
FAMILIES: tuple[Family, ...] = tuple(WIDE)


def random_domain(rng: np.random.Generator, wide: tuple[Family, ...] = ()) -> Domain:
    """A domain drawn from ranges a little wider than the sixteen span.

    Each family in `wide` is drawn from far wider ones now and then (`WIDE`): so usual and unusual properties meet.
    """
    name = f"random-{int(rng.integers(2**32)):08x}"
    domain = Domain(name, _random_geometry(rng), _random_scan(rng), _random_annotator(rng))
    # a stream of its own for each family: leaving one out changes nothing of the others
    for family, stream in zip(FAMILIES, rng.spawn(len(FAMILIES)), strict=True):
        if stream.random() < WIDE[family] and family in wide:
            domain = _WIDENED[family](domain, stream)
    return domain


def _wider_geometry(domain: Domain, rng: np.random.Generator) -> Domain:
    u, g = rng.uniform, domain.geometry
    radius = float(np.exp(u(np.log(5), np.log(34))))
    ends = g.specimen_radius < 0.65
    return replace(
        domain,
        geometry=replace(
            g,
            radius=radius,
            big_radius=float(min(50.0, radius * u(1.6, 5.0))) if g.big_radius else 0.0,
            spread=float(u(0.05, 0.6)),
            share=g.share if ends else float(u(0.1, 0.92)),
            gap=float(u(0.5, 4.0)),
            lobes=float(u(0.0, 0.3)),
            roughness=float(u(0.0, 1.4)),
        ),
    )


def _wider_contrast(domain: Domain, rng: np.random.Generator) -> Domain:
    """Carbon and binder hardly absorb beside heavy oxides, and nearly as much as graphite."""
    u = rng.uniform
    pore = float(u(0.0, 0.3) if rng.random() < 0.4 else u(0.0, 0.1))
    binder = pore + float(u(0.0, 0.15) if rng.random() < 0.5 else u(0.15, 0.5))
    geometry = replace(
        domain.geometry, pore_grey=pore, binder_grey=binder, variation=float(u(0.0, 0.28)), shell=float(u(-0.2, 0.2))
    )
    return replace(domain, geometry=geometry)


def _wider_texture(domain: Domain, rng: np.random.Generator) -> Domain:
    u = rng.uniform
    geometry = replace(
        domain.geometry,
        texture=float(u(0.0, 0.2)),
        micropores=float(u(0.0, 0.05)) if rng.random() < 0.4 else 0.0,
        micropore_size=float(u(1.5, 5.0)),
        binder=float(u(0.0, 0.9)),
    )
    return replace(domain, geometry=geometry)


def _wider_artefacts(domain: Domain, rng: np.random.Generator) -> Domain:
    u = rng.uniform
    scan = replace(
        domain.scan,
        angles=int(rng.integers(60, 280)),
        noise=float(np.exp(u(np.log(0.02), np.log(0.35)))),
        blur=float(u(0.5, 2.2)),
        fringe=float(u(0.0, 2.0)),
        rings=float(u(0.0, 0.09)),
        axial_drift=float(u(0.0, 0.5)),
        shading=float(u(0.0, 0.7)),
        coverage=1.0 if rng.random() < 0.5 else float(u(0.65, 0.95)),
        cutoff=float(u(0.4, 2.0)),
        wedge=float(u(130.0, 180.0)) if rng.random() < 0.2 else 180.0,
    )
    return replace(domain, scan=scan)


_WIDENED = {
    "geometry": _wider_geometry,
    "contrast": _wider_contrast,
    "texture": _wider_texture,
    "artefacts": _wider_artefacts,
}


def _random_geometry(rng: np.random.Generator) -> Geometry:
    u = rng.uniform
    flakes, bimodal, ends = rng.random() < 0.5, rng.random() < 0.35, rng.random() < 0.35
    radius = float(np.exp(u(np.log(6), np.log(22))))
    ended = float(u(0.38, 0.6))
    thin = ends and rng.random() < 0.35
    limit = 0.8 * min(1.0, np.pi * ended**2) * (0.7 if thin else 1.0) if ends else 0.86
    return Geometry(
        share=float(u(0.12, limit) if rng.random() < 0.45 else u(min(0.4, 0.6 * limit), limit)),
        radius=radius,
        spread=float(u(0.1, 0.45)),
        big_radius=float(radius * u(1.6, 3.0)) if bimodal else 0.0,
        big_share=float(u(0.3, 0.75)) if bimodal else 0.0,
        aspect=float(u(0.28, 0.75)) if flakes else float(u(0.85, 1.0)),
        alignment=float(u(0.0, 0.95)),
        lobes=float(u(0.0, 0.22)),
        roughness=float(u(0.1, 0.9)),
        gap=float(u(0.8, 3.0)),
        cracked=float(u(0.1, 0.5)) if rng.random() < 0.4 else 0.0,
        crack_width=float(u(1.5, 4.0)),
        hollow=float(u(0.1, 0.5)) if rng.random() < 0.3 else 0.0,
        micropores=float(u(0.0, 0.02)) if rng.random() < 0.3 else 0.0,
        micropore_size=float(u(1.8, 3.5)),
        binder=float(u(0.0, 0.7)),
        binder_grey=float(u(0.15, 0.58)),
        pore_grey=float(u(0.0, 0.15)),
        variation=float(u(0.0, 0.18)),
        texture=float(u(0.0, 0.12)),
        shell=float(u(-0.1, 0.1)),
        specimen_radius=ended if ends else float(u(0.7, 0.85)),
        specimen_offset=float(u(0.0, 0.12)) if ends else 0.0,
        layer=float(u(0.5, 0.9)) if thin else 0.0,
    )


def _random_scan(rng: np.random.Generator) -> Scan:
    u = rng.uniform
    return Scan(
        angles=int(rng.integers(80, 220)),
        absorption=float(u(0.6, 2.2)),
        noise=float(u(0.05, 0.27)),
        blur=float(u(0.5, 1.4)),
        hardening=float(u(0.0, 0.55)),
        scatter=float(u(0.0, 0.08)),
        fringe=float(u(0.0, 1.4)),
        rings=float(u(0.0, 0.06)),
        flux_drift=float(u(0.0, 0.03)),
        axial_drift=float(u(0.0, 0.45)),
        axial_jitter=float(u(0.0, 0.06)),
        axial_gain=float(u(0.0, 0.12)),
        shading=float(u(0.0, 0.5)),
        coverage=1.0 if rng.random() < 0.65 else float(u(0.72, 0.95)),
        cutoff=float(u(0.6, 2.0)),
        grey_gain=float(10 ** u(-2, 4)),
        grey_offset=float(rng.normal()),
    )


def _random_annotator(rng: np.random.Generator) -> Annotator:
    u = rng.uniform
    return Annotator(
        accuracy=float(u(0.66, 0.98)),
        level=float(u(0.25, 0.5)),
        smoothing=float(u(0.6, 1.8)),
        fills_below=int(rng.integers(0, 80)),
        bias=float(u(0.1, 0.9)),
        slice_drift=float(u(0.1, 0.6)),
        wander=float(u(0.2, 0.8)),
    )
