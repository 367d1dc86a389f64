"""The sixteen simulated domains; each is a specimen, a scan and an annotator. `randomisation` draws endless others."""

from __future__ import annotations

from dataclasses import dataclass

from segbench.data.annotator import Annotator
from segbench.data.geometry import Geometry
from segbench.data.tomograph import Scan


@dataclass(frozen=True)
class Domain:
    """A kind of volume: what is scanned, how, and who labels it."""

    name: str
    geometry: Geometry
    scan: Scan
    annotator: Annotator


_SIXTEEN = (
    Domain(  # dense calendered cell, potato-shaped grains, few pores
        "E35",
        Geometry(share=0.75, radius=20, spread=0.3, lobes=0.15, gap=2.6, binder=0.25, binder_grey=0.42,
                 variation=0.09, texture=0.08, micropores=0.01, specimen_radius=0.8),
        Scan(angles=150, noise=0.19, blur=0.7, rings=0.027, axial_drift=0.20, shading=0.13, hardening=0.3,
             fringe=0.6, grey_gain=820, grey_offset=1400),
        Annotator(accuracy=0.984, level=0.45, smoothing=0.8),
    ),
    Domain(  # few large grains, thin pores: the minority is the pore
        "Tesla",
        Geometry(share=0.82, radius=17, spread=0.25, big_radius=27, big_share=0.5, lobes=0.12, gap=1.7,
                 binder=0.15, binder_grey=0.42, variation=0.07, texture=0.08, specimen_radius=0.78),
        Scan(angles=180, noise=0.19, blur=0.6, rings=0.027, axial_drift=0.20, shading=0.13, hardening=0.35,
             fringe=0.8, grey_gain=0.012, grey_offset=0.002),
        Annotator(accuracy=0.973, level=0.42, smoothing=0.9),
    ),
    Domain(  # NMC-like spheres, big and small, some cracked
        "Litarion",
        Geometry(share=0.76, radius=14, spread=0.25, big_radius=30, big_share=0.55, lobes=0.08, gap=2.0,
                 cracked=0.2, binder=0.3, binder_grey=0.42, variation=0.11, texture=0.06,
                 specimen_radius=0.75),
        Scan(angles=160, noise=0.13, blur=0.8, rings=0.032, axial_drift=0.20, shading=0.13, hardening=0.3,
             fringe=0.5, grey_gain=1.0),
        Annotator(accuracy=0.966, level=0.48, smoothing=1.0, wander=0.9),
    ),
    Domain(  # a few bright spheres in much binder; the minority is the active material
        "25R6",
        Geometry(share=0.17, radius=12, spread=0.3, lobes=0.08, gap=2.0, binder=0.50, binder_grey=0.34,
                 variation=0.10, texture=0.06, specimen_radius=0.62),
        Scan(angles=140, noise=0.17, blur=0.7, rings=0.036, axial_drift=0.19, shading=0.16, hardening=0.4,
             fringe=0.9, absorption=1.2, grey_gain=5200, grey_offset=-300),
        Annotator(accuracy=0.955, level=0.38, smoothing=1.1, wander=0.85),
    ),
    Domain(  # aligned flakes, thick
        "Electrode_I_1",
        Geometry(share=0.55, radius=14, spread=0.3, aspect=0.42, alignment=0.7, lobes=0.1, gap=2.0,
                 binder=0.3, binder_grey=0.42, variation=0.09, texture=0.08, specimen_radius=0.75),
        Scan(angles=150, noise=0.17, blur=0.8, rings=0.027, axial_drift=0.20, shading=0.16, fringe=0.8,
             grey_gain=90, grey_offset=40),
        Annotator(accuracy=0.948, level=0.45, smoothing=1.1, wander=0.85),
    ),
    Domain(  # flakes, random axes, open pores
        "Electrode_III_1",
        Geometry(share=0.50, radius=17, spread=0.25, aspect=0.5, alignment=0.2, lobes=0.15, gap=2.2,
                 binder=0.3, binder_grey=0.47, variation=0.11, texture=0.06, specimen_radius=0.7),
        Scan(angles=130, noise=0.17, blur=0.8, rings=0.032, axial_drift=0.20, shading=0.16, fringe=0.6,
             grey_gain=300, grey_offset=90),
        Annotator(accuracy=0.945, level=0.46, smoothing=1.2, wander=0.85, fills_below=15),
    ),
    Domain(  # rounded graphite, big, hollow ones among them; the specimen ends in view
        "GCA400",
        Geometry(share=0.42, radius=17, spread=0.25, lobes=0.12, gap=2.0, hollow=0.25, binder=0.35,
                 binder_grey=0.47, variation=0.09, texture=0.08, specimen_radius=0.47, specimen_offset=0.05),
        Scan(angles=160, noise=0.19, blur=0.7, rings=0.036, axial_drift=0.20, shading=0.16, absorption=1.2,
             hardening=0.4, fringe=0.7, grey_gain=1.7, grey_offset=-0.4),
        Annotator(accuracy=0.928, level=0.36, smoothing=1.2, wander=0.85),
    ),
    Domain(  # strongly aligned flakes, dense
        "Electrode_IV_1",
        Geometry(share=0.62, radius=17, spread=0.3, aspect=0.38, alignment=0.85, lobes=0.1, gap=2.0,
                 binder=0.4, binder_grey=0.48, variation=0.11, texture=0.08, specimen_radius=0.75),
        Scan(angles=140, noise=0.17, blur=0.8, rings=0.036, axial_drift=0.22, shading=0.16, fringe=0.6,
             grey_gain=1000, grey_offset=700),
        Annotator(accuracy=0.917, level=0.36, smoothing=1.3, wander=0.85),
    ),
    Domain(  # medium potatoes, truncated projections: cupping
        "Electrode_II_2",
        Geometry(share=0.58, radius=17, spread=0.35, lobes=0.18, gap=2.2, binder=0.4, binder_grey=0.42,
                 variation=0.13, texture=0.08, cracked=0.15, specimen_radius=0.78),
        Scan(angles=150, noise=0.17, blur=0.8, rings=0.032, axial_drift=0.20, shading=0.21, coverage=0.78,
             hardening=0.4, fringe=0.6, grey_gain=0.6, grey_offset=0.1),
        Annotator(accuracy=0.902, level=0.35, smoothing=1.3, wander=0.85),
    ),
    Domain(  # large spheres, sparse, the specimen ends in view
        "GCA2000",
        Geometry(share=0.36, radius=20, spread=0.3, lobes=0.08, gap=2.2, hollow=0.2, cracked=0.2,
                 binder=0.3, binder_grey=0.42, variation=0.11, texture=0.08, specimen_radius=0.44,
                 specimen_offset=0.04),
        Scan(angles=120, noise=0.19, blur=0.7, rings=0.036, axial_drift=0.19, shading=0.16, absorption=1.2,
             hardening=0.45, fringe=1.0, grey_gain=2400, grey_offset=-1000),
        Annotator(accuracy=0.900, level=0.35, smoothing=1.2, bias=0.3, wander=0.85),
    ),
    Domain(  # flakes again, finer and noisier
        "Electrode_I_2",
        Geometry(share=0.56, radius=15, spread=0.3, aspect=0.5, alignment=0.6, lobes=0.12, gap=2.2,
                 binder=0.35, binder_grey=0.42, variation=0.11, texture=0.08, specimen_radius=0.75),
        Scan(angles=120, noise=0.21, blur=0.8, rings=0.036, axial_drift=0.24, shading=0.21, fringe=0.6,
             grey_gain=70, grey_offset=110),
        Annotator(accuracy=0.892, level=0.33, smoothing=1.3, wander=0.85),
    ),
    Domain(  # flakes, bimodal, few projections
        "Electrode_III_2",
        Geometry(share=0.55, radius=14, spread=0.25, big_radius=24, big_share=0.6, aspect=0.5,
                 alignment=0.3, lobes=0.15, gap=2.0, binder=0.4, binder_grey=0.48, variation=0.11,
                 texture=0.08, specimen_radius=0.72),
        Scan(angles=90, noise=0.17, blur=0.8, rings=0.036, axial_drift=0.24, shading=0.18, fringe=0.5,
             grey_gain=3.1, grey_offset=-1.0),
        Annotator(accuracy=0.773, level=0.32, smoothing=1.4, wander=0.6),
    ),
    Domain(  # aligned flakes, much binder
        "Electrode_IV_3",
        Geometry(share=0.52, radius=17, spread=0.25, aspect=0.4, alignment=0.8, lobes=0.1, gap=2.2,
                 binder=0.5, binder_grey=0.45, variation=0.11, texture=0.08, specimen_radius=0.75),
        Scan(angles=130, noise=0.17, blur=0.9, rings=0.036, axial_drift=0.24, shading=0.18, fringe=0.5,
             grey_gain=410, grey_offset=300),
        Annotator(accuracy=0.748, level=0.32, smoothing=1.5, wander=0.65),
    ),
    Domain(  # aligned flakes, a layer that ends in view
        "Electrode_IV_2",
        Geometry(share=0.46, radius=17, spread=0.25, aspect=0.42, alignment=0.8, lobes=0.1, gap=2.0,
                 binder=0.4, binder_grey=0.48, variation=0.11, texture=0.08, specimen_radius=0.62,
                 layer=0.72),
        Scan(angles=140, noise=0.20, blur=0.8, rings=0.036, axial_drift=0.24, shading=0.21, fringe=0.6,
             grey_gain=1500, grey_offset=200),
        Annotator(accuracy=0.745, level=0.32, smoothing=1.5, wander=0.65),
    ),
    Domain(  # potatoes and fine powder, cracked
        "Electrode_II_3",
        Geometry(share=0.60, radius=12, spread=0.3, big_radius=22, big_share=0.65, lobes=0.15, gap=2.0,
                 cracked=0.3, binder=0.45, binder_grey=0.48, variation=0.10, texture=0.08,
                 specimen_radius=0.76),
        Scan(angles=110, noise=0.14, blur=0.8, rings=0.041, axial_drift=0.25, shading=0.20, fringe=0.5,
             coverage=0.85, grey_gain=0.02, grey_offset=0.05),
        Annotator(accuracy=0.699, level=0.30, smoothing=1.5, wander=0.7),
    ),
    Domain(  # thick flakes with random axes, low contrast
        "Electrode_III_3",
        Geometry(share=0.54, radius=14, spread=0.3, aspect=0.5, alignment=0.1, lobes=0.15, gap=2.2,
                 binder=0.45, binder_grey=0.44, variation=0.13, texture=0.09, specimen_radius=0.75),
        Scan(angles=110, noise=0.15, blur=0.8, rings=0.041, axial_drift=0.25, shading=0.20, fringe=0.4,
             grey_gain=200, grey_offset=900),
        Annotator(accuracy=0.668, level=0.30, smoothing=1.5, wander=0.7),
    ),
)  # fmt: skip

DOMAINS: dict[str, Domain] = {domain.name: domain for domain in _SIXTEEN}
"""The sixteen, in the order of the study's printed accuracy."""
