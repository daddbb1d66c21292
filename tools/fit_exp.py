"""Coefficients of the float exponential in hebb/backend/cpu/exp-inl.h: e^r = 1 + r + r^2 P(r) on |r| <= log(2) / 2.

The fit minimises the largest relative error by iteratively reweighted linear least squares (Lawson, 1961).
Run: python3 tools/fit_exp.py (needs NumPy).
"""
import math

import numpy as np

DEGREE, LIMIT = 4, 1.0005 * math.log(2) / 2
r = LIMIT * np.cos(np.pi * (np.arange(4000) + 0.5) / 4000)
A = np.stack([r ** (2 + i) / np.exp(r) for i in range(DEGREE + 1)], 1)
target = (np.exp(r) - 1 - r) / np.exp(r)
weight = np.ones_like(r)
best = None
for _ in range(300):
    p, *_ = np.linalg.lstsq(A * np.sqrt(weight)[:, None], target * np.sqrt(weight), rcond=None)
    error = np.abs(A @ p - target)
    if best is None or error.max() < best[0]:
        best = (error.max(), p)
    weight *= error / error.mean() + 1e-3
    weight /= weight.sum()
print("largest relative error of the fit: %.2e" % best[0])
print("P:", ", ".join("%.9gf" % c for c in best[1]))
