"""The moving average of parameters, in numpy and float64: writes average.json.

    a <- d a + (1 - d) x,    d = min(decay, (1 + t) / (10 + t)),    t steps averaged before

as TensorFlow's ExponentialMovingAverage computes it with num_updates = t.
"""

import json
from pathlib import Path

import numpy as np


def averaged(points, decay):
    average, trace = points[0].astype(np.float64), []
    for t, x in enumerate(points[1:]):
        d = min(decay, (1 + t) / (10 + t))
        average = d * average + (1 - d) * x
        trace.append(average.tolist())
    return trace


random = np.random.default_rng(1)
points = np.cumsum(random.normal(size=(41, 3)), axis=0).astype(np.float32)
cases = [{"decay": d, "averages": averaged(points, d)} for d in (0.3, 0.75, 0.999)]
file = {"points": points.tolist(), "cases": cases}
Path(__file__).with_suffix(".json").write_text(json.dumps(file) + "\n")
