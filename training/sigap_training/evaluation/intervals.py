"""How sure a figure is: 95 % intervals that know which cases are of one patient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From sums [..., k] to a figure [...]; nan where it is undefined."""

_ROUNDS = 2000
_SEED = 0
# Why a figure has no interval, or no value.
_ONE_PATIENT = "one patient"
_ALL_ALIKE = "all patients alike"
_FEW = 5
_NOTHING = "none to count"


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval.

    Attributes:
        value: None where it is undefined.
        low, high: ends of the interval; None where there is none.
        count: what it is a mean or share of: cases, slices, lesions.
        patients: the independent ones that they come from.
        reason: why there is no value, no interval, or one to be taken with care.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int = 0
    patients: int = 0
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def bootstrap(
    rows: NDArray[np.float64], patients: Sequence[str], statistic: Statistic, *, rounds: int = _ROUNDS
) -> Estimate:
    """A figure of sums, and the interval that drawing patients again gives it.

    Patients are drawn with replacement, each with all its cases together (cluster bootstrap, percentile interval):
    cases of one patient are no independent evidence. Draws in which the figure is undefined are left out.

    Args:
        rows: [n, k], what each case adds to the k sums.
        patients: whose each of the n cases is.
        statistic: the figure of the sums.
        rounds: draws.

    Source:
        Field and Welsh, Bootstrapping clustered data, J. R. Stat. Soc. B 69:369-390, 2007.
    """
    names, places = np.unique(np.asarray(patients, str), return_inverse=True)
    if not len(rows):
        return Estimate(None, reason=_NOTHING)
    value = float(statistic(rows.sum(axis=0)))
    if math.isnan(value):
        return Estimate(None, count=len(rows), patients=len(names), reason=_NOTHING)
    if len(names) == 1:
        return Estimate(value, count=len(rows), patients=1, reason=_ONE_PATIENT)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, places, rows)
    draws = np.random.default_rng(_SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), rounds)
    low, high = np.nanpercentile(statistic(draws @ sums), (2.5, 97.5))
    if math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12):
        return Estimate(value, count=len(rows), patients=len(names), reason=_ALL_ALIKE)
    rough = f"rough: {len(names)} patients" if len(names) < _FEW else None
    return Estimate(value, float(low), float(high), len(rows), len(names), rough)


def ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first sum by the second: a mean, where the second counts; nan by 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan))


def mean(values: Sequence[float | None], patients: Sequence[str]) -> Estimate:
    """The mean of those values that are defined, with its bootstrap interval over patients."""
    kept = [(value, patient) for value, patient in zip(values, patients, strict=True) if value is not None]
    rows = np.array([[value, 1.0] for value, _ in kept]).reshape(-1, 2)
    return bootstrap(rows, [patient for _, patient in kept], ratio)


def wilson(count: float, total: int) -> tuple[float, float]:
    """95 % interval of a share of independent things.

    Source:
        Wilson 1927, JASA 22:209-212.

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    """
    z, part = 1.959964, count / total
    middle = part + z * z / (2 * total)
    reach = z * math.sqrt(part * (1 - part) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return (middle - reach) / scale, (middle + reach) / scale


def share(is_hit: Sequence[bool], patients: Sequence[str]) -> Estimate:
    """A share and its interval; none of a single patient.

    One thing a patient: Wilson's. Several: things of one patient are alike, so the bootstrap over patients; where it
    finds no spread (all hit, or all missed), Wilson's of as many things as there are patients, and the reason says so.
    """
    total, owners = len(is_hit), len(set(patients))
    hits = sum(map(bool, is_hit))
    if total > owners > 1:
        found = mean([float(bool(hit)) for hit in is_hit], patients)
        if found.reason != _ALL_ALIKE:
            return found
        low, high = wilson(hits / total * owners, owners)
        return Estimate(hits / total, low, high, total, owners, f"{_ALL_ALIKE}: as of one each of {owners}")
    if not total:
        return Estimate(None, reason=_NOTHING)
    if owners == 1:
        return Estimate(hits / total, count=total, patients=1, reason=_ONE_PATIENT)
    return Estimate(hits / total, *wilson(hits, total), total, owners)
