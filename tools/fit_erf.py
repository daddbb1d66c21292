"""Coefficients of the float erf in hebb/backend/cpu/elementwise_f32.cpp: erf(x) = x P(x^2) / Q(x^2) on |x| <= 4.

The fit minimises the largest relative error by iteratively reweighted linear least squares (Lawson, 1961), then
evaluates the result in float32. Run: python3 tools/fit_erf.py (needs NumPy).
"""
import math

import numpy as np

P, Q, LIMIT = 7, 5, 4.0  # degrees in x^2
x = np.sort(np.concatenate([np.linspace(1e-4, LIMIT, 6000), LIMIT * (1 - np.cos(np.linspace(0, math.pi / 2, 3000)))[1:]]))
target = np.array([math.erf(v) for v in x])
u = x * x / LIMIT**2
weight = np.ones_like(x)
q = np.zeros(Q)
best = None
for _ in range(400):
    scale = np.sqrt(weight) / target / (1 + sum(q[j] * u ** (j + 1) for j in range(Q)))
    columns = [x * u**i for i in range(P + 1)] + [-target * u ** (j + 1) for j in range(Q)]
    A = np.stack([c * scale for c in columns], 1)
    solution, *_ = np.linalg.lstsq(A, target * scale, rcond=None)
    p, q = solution[: P + 1], solution[P + 1 :]
    value = x * sum(p[i] * u**i for i in range(P + 1)) / (1 + sum(q[j] * u ** (j + 1) for j in range(Q)))
    error = np.abs(value / target - 1)
    if best is None or error.max() < best[0]:
        best = (error.max(), p.copy(), q.copy())
    weight *= error / error.mean() + 1e-3
    weight /= weight.sum()
_, p, q = best
p = [c / LIMIT ** (2 * i) for i, c in enumerate(p)]
q = [c / LIMIT ** (2 * (i + 1)) for i, c in enumerate(q)]
f = np.float32
xf = x.astype(f)
uf = xf * xf
num, den = f(p[-1]), f(q[-1])
for c in p[-2::-1]:
    num = num * uf + f(c)
for c in q[-2::-1]:
    den = den * uf + f(c)
den = den * uf + f(1)
exact = np.array([math.erf(float(v)) for v in xf])
print("largest relative error: fit %.2e, in float32 %.2e" % (best[0], np.abs(xf * num / den / exact - 1).max()))
print("P:", ", ".join("%.9gf" % c for c in p))
print("Q: 1.0f,", ", ".join("%.9gf" % c for c in q))
