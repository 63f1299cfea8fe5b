"""Writes loss.json: PyTorch's cross-entropy with soft targets, for tests/loss.rs.

    python loss.py    (PyTorch from PyPI; the test needs only the stored numbers)
"""

import json
import pathlib

import torch
from torch.nn.functional import cross_entropy, one_hot

LOGITS = [[0.5, -1.25, 2.0, 0.0], [3.0, 0.1, -0.4, 1.5], [-2.0, 0.7, 0.2, -0.3]]
LABELS, SECOND = [2, 1, 3], [0, 1, 2]


def run(smoothing, weight=None):
    """The loss and its gradient."""
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    target = torch.tensor(LABELS)
    if weight is not None:
        first, second = (one_hot(torch.tensor(of), 4).double() for of in (LABELS, SECOND))
        target = weight * first + (1 - weight) * second
    loss = cross_entropy(logits, target, label_smoothing=smoothing)
    loss.backward()
    return {"smoothing": smoothing, "weight": weight, "loss": loss.item(), "gradient": logits.grad.tolist()}


if __name__ == "__main__":
    record = {
        "torch": torch.__version__,
        "logits": LOGITS,
        "labels": LABELS,
        "second": SECOND,
        "cases": [run(0.0), run(0.1), run(0.0, 0.3), run(0.1, 0.3), run(0.0, 1.0)],
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(record, indent=1) + "\n")
