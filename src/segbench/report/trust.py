"""Tables of what uncertainty is worth: measure by measure, and at boundaries apart from elsewhere."""

from segbench.report.folder import Run
from segbench.report.markup import Markup, element
from segbench.report.tables import region, scored
from segbench.report.values import MEASURES, measured, overall

UNCERTAINTY: tuple[tuple[str, str, int], ...] = (
    ("error_auroc_M_R", "error AUROC", 3), ("error_ap_M_R", "average precision", 3), ("ause_M_R", "AUSE", 3),
    ("aurc_M_R", "AURC", 4), ("pavpu_M_R", "PAvPU", 3), ("p_accurate_certain_M_R", "P(accurate | certain)", 3),
    ("p_uncertain_inaccurate_M_R", "P(uncertain | inaccurate)", 3), ("M_band_R", "mean, at boundaries", 4),
    ("M_interior_R", "mean, elsewhere", 4),
)  # fmt: skip


def calibration(run: Run) -> Markup | None:
    """Scores of the probability: means over domains with their intervals."""
    wanted = (("nll", "NLL"), ("brier", "Brier score"), ("ece", "ECE"), ("ece_classwise", "class-wise ECE"))
    found = [(words, overall(run, f"{key}_{run.reference}")) for key, words in wanted]
    there = [(words, score) for words, score in found if score is not None]
    if not there:
        return None
    heads = [element("th", words, scope="col") for words, _ in there]
    line = [element("th", "mean over domains", scope="row"), *(scored(score, 4) for _, score in there)]
    head = element("thead", element("tr", element("td"), *heads))
    table = element("table", head, element("tbody", element("tr", *line)), class_="beside")
    return region(table, f"Scores of the probability, {run.title}")


def uncertainty(run: Run) -> Markup | None:
    """A line a measure of uncertainty: how well it finds errors, and PAvPU; means over domains with their intervals."""
    end = run.reference
    patterns = [(pattern.replace("_R", f"_{end}"), words, digits) for pattern, words, digits in UNCERTAINTY]
    used = [entry for entry in patterns if measured(run, entry[0])]
    if not used:
        return None
    heads = [element("th", "measure", scope="col"), *(element("th", words, scope="col") for _, words, _ in used)]
    lines = []
    for name in dict.fromkeys(name for pattern, _, _ in used for name in measured(run, pattern)):
        scores = [scored(overall(run, pattern.replace("M", name)), digits) for pattern, _, digits in used]
        lines.append(element("tr", element("th", MEASURES[name], scope="row"), *scores))
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *lines), class_="beside")
    return region(table, f"Measures of uncertainty, {run.title}")


def regions(run: Run) -> Markup | None:
    """What the boundary band of the reference and the interior score apart."""
    end = run.reference
    wanted = (("share", "share of voxels"), ("accuracy", "accuracy"), ("ece", "ECE"),
              ("error_auroc_entropy", "error AUROC of entropy"))  # fmt: skip
    lines = []
    for place, words in (("band", "within 2 voxels of a boundary"), ("interior", "elsewhere")):
        scores = [overall(run, f"{key}_{place}_{end}") for key, _ in wanted]
        if any(score is not None for score in scores):
            lines.append(element("tr", element("th", words, scope="row"), *(scored(score, 3) for score in scores)))
    heads = [element("th", "where", scope="col"), *(element("th", words, scope="col") for _, words in wanted)]
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *lines), class_="beside")
    return region(table, f"Boundaries and elsewhere, {run.title}") if lines else None
