#!/usr/bin/env python3
"""The methods beside Leader SGD in numpy, in float64, on the 2-D quadratic of lsgd.py.

Writes methods.json beside itself: for each case the settings, and every worker's x after every step,
which `tests/algorithm/methods.rs` compares with the crate's. All workers begin at one place. Over
several nodes, a node's workers meet every local_period steps and those of all nodes every
global_period; where both are due, methods that only average meet once, all together.

    python3 crates/lsgd-core/tests/reference/methods.py
"""

import json
import pathlib

import numpy as np

from lsgd import CURVATURE, bottom, leader_of


class Sgd:
    def __init__(self, case, start):
        self.case = case
        self.counted = []  # workers in each filtered mean

    def meet(self, scope, x, leader, of):
        return x

    def between(self, w, x):
        return x


class LocalSgd(Sgd):
    def meet(self, scope, x, leader, of):
        mean = np.mean(x, axis=0)
        return [mean] * len(x)


class Easgd(Sgd):
    """Zhang et al. 2015, equations 5 and 6, with alpha = beta / W."""

    def __init__(self, case, start):
        super().__init__(case, start)
        self.centre = {}
        self.start = start

    def meet(self, scope, x, leader, of):
        beta, centre = self.case["beta"], self.centre.get(scope, self.start)
        self.centre[scope] = (1 - beta) * centre + beta * np.mean(x, axis=0)
        alpha = beta / len(x)
        return [(1 - alpha) * xw + alpha * centre for xw in x]


class Diloco(Sgd):
    """torch.optim.SGD(lr, momentum, nesterov) on the outer parameters, with outer - mean as gradient."""

    nesterov = True

    def __init__(self, case, start):
        super().__init__(case, start)
        self.outer, self.velocity, self.start = {}, {}, start

    def meet(self, scope, x, leader, of):
        mu, eta = self.case["outer_momentum"], self.case["outer_learning_rate"]
        outer = self.outer.get(scope, self.start)
        gradient = outer - np.mean(x, axis=0)
        velocity = mu * self.velocity.get(scope, 0.0) + gradient
        step = gradient + mu * velocity if self.nesterov else velocity
        self.velocity[scope], self.outer[scope] = velocity, outer - eta * step
        if scope == "all":
            for node in range(self.case["nodes"]):
                self.outer[node] = self.outer["all"]
        return [self.outer[scope]] * len(x)


class Slowmo(Diloco):
    nesterov = False


class LeaderMean(Sgd):
    def meet(self, scope, x, leader, of):
        if leader is None:
            return x
        mean = np.mean(x, axis=0)
        return [mean + self.case["leader_weight"] * (x[of.index(leader)] - mean)] * len(x)


class LeaderFilter(Sgd):
    """The mean of those whose loss exceeds their node's lowest by at most filter_margin of it; over
    all nodes, of these workers of the nodes whose lowest exceeds the lowest of all by no more."""

    def meet(self, scope, x, leader, of):
        margin, window = self.case["filter_margin"], self.case["loss_window"]
        loss = {w: np.mean(self.losses[w][-window:]) for w in of}

        def near(value, lowest):
            spare = margin * abs(lowest) - (value - lowest)
            assert abs(spare) > 1e-4 or value == lowest, "too close to call in float32"
            return spare >= 0

        per_node = self.case["workers"]
        chosen, nodes = [], sorted({w // per_node for w in of})
        lowest = {n: min(loss[w] for w in of if w // per_node == n) for n in nodes}
        for w in of:
            own = lowest[w // per_node]
            if near(own, min(lowest.values())) and near(loss[w], own):
                chosen.append(x[of.index(w)])
        self.counted.append(len(chosen))
        return [np.mean(chosen, axis=0)] * len(x)


class LsgdPlus(Sgd):
    def __init__(self, case, start):
        super().__init__(case, start)
        self.target = {}

    def meet(self, scope, x, leader, of):
        if leader is None:
            return x
        where = "global" if scope == "all" else "local"
        z, mean = self.published[leader], np.mean([self.published[w] for w in of], axis=0)
        for w in of:
            self.target[w, where] = mean + self.case["leader_weight"] * (z - mean)
        pull = self.case[f"{where}_pull"]
        return [xw if w == leader else xw - pull * (xw - z) for w, xw in zip(of, x)]

    def between(self, w, x):
        for where in ("global", "local"):
            if (w, where) in self.target:
                strength = self.case[f"{where}_prox"] / self.case[f"{where}_period"]
                x = x - strength * (x - self.target[w, where])
        return x


class Grawa(Sgd):
    """Weights 1 / (mean norm of the gradients since the last exchange)."""

    def meet(self, scope, x, leader, of):
        weights = [1 / np.mean(np.linalg.norm(self.gradients[w], axis=1)) for w in of]
        mean = sum(weight * xw for weight, xw in zip(weights, x)) / sum(weights)
        pull = self.case["global_pull" if scope == "all" else "local_pull"]
        return [xw - pull * (xw - mean) for xw in x]


class GrawaLayers(Sgd):
    """Each coordinate is a layer: its weight is 1 / (mean of the gradient's absolute values in it)."""

    def meet(self, scope, x, leader, of):
        weights = np.array([1 / np.mean(np.abs(self.gradients[w]), axis=0) for w in of])
        mean = np.sum(weights * np.array(x), axis=0) / np.sum(weights, axis=0)
        pull = self.case["global_pull" if scope == "all" else "local_pull"]
        return [xw - pull * (xw - mean) for xw in x]


class Dppf(Sgd):
    """Pull alpha, push lambda: x + (mean - x)(alpha - lambda / |x - mean|).

    Of an odd number of these workers, one is at the mean but for rounding, which then says whereto it is
    pushed.
    """

    def meet(self, scope, x, leader, of):
        mean = np.mean(x, axis=0)
        pull = self.case["global_pull" if scope == "all" else "local_pull"]
        push = self.case["push"]
        return [xw + (mean - xw) * (pull - push / np.linalg.norm(xw - mean)) for xw in x]


METHODS = {
    "sgd": Sgd, "local_sgd": LocalSgd, "easgd": Easgd, "diloco": Diloco, "slowmo": Slowmo,
    "leader_mean": LeaderMean, "leader_filter": LeaderFilter, "lsgd_plus": LsgdPlus, "grawa": Grawa, "grawa_layers": GrawaLayers,
    "dppf": Dppf,
}


def run(case):
    nodes, per_node = case["nodes"], case["workers"]
    count = nodes * per_node
    everyone = list(range(count))
    start = np.array([1.0, 2.0])
    x = [start.copy() for _ in everyone]
    velocity = [np.zeros(2) for _ in everyone]
    losses = [[] for _ in everyone]
    rule = None if case["method"] == "data_parallel" else METHODS[case["method"]](case, start)
    trace, taken = [], [[] for _ in everyone]
    for step in range(1, case["steps"] + 1):
        off = [x[w] - bottom(w, step - 1) for w in everyone]
        gradients = [CURVATURE * o for o in off]
        if rule is None:
            gradients = [np.mean(gradients, axis=0)] * count
        for w in everyone:
            taken[w].append(gradients[w])
            losses[w].append(0.5 * np.sum(CURVATURE * off[w] * off[w]))
            velocity[w] = case["momentum"] * velocity[w] + gradients[w]
            x[w] = x[w] - case["learning_rate"] * velocity[w]
            if rule:
                x[w] = rule.between(w, x[w])
        if rule and step % case["local_period"] == 0:
            window = case["loss_window"]
            rule.published = [xw.copy() for xw in x]
            rule.losses = losses
            rule.gradients = [own[-case["local_period"] :] for own in taken]
            is_global = nodes > 1 and step % case["global_period"] == 0
            # Methods that only average meet once where both meetings are due.
            skips_local = is_global and case["method"] != "lsgd_plus"
            groups = [(n, everyone[n * per_node : (n + 1) * per_node]) for n in range(nodes)]
            best = [leader_of(of, losses, window) for _, of in groups]
            first = None if None in best else leader_of(best, losses, window)
            meetings = [] if skips_local else [(n, of, best[n]) for n, of in groups]
            for scope, of, leader in meetings + ([("all", everyone, first)] if is_global else []):
                moved = rule.meet(scope, [x[w] for w in of], leader, of)
                for w, xw in zip(of, moved):
                    x[w] = np.array(xw)
        trace.append([[round(float(v), 8) for v in xw] for xw in x])
    if rule and rule.counted:
        # A filter that lets all or one through would test little.
        assert len(set(rule.counted)) > 1, rule.counted
    return trace


BASE = {
    "nodes": 1, "workers": 4, "steps": 24, "learning_rate": 0.25, "momentum": 0.0,
    "local_period": 3, "global_period": 6, "loss_window": 2, "beta": 0.43, "leader_weight": 0.3,
    "outer_learning_rate": 0.7, "outer_momentum": 0.9, "local_pull": 0.3, "global_pull": 0.2,
    "local_prox": 0.6, "global_prox": 0.5, "push": 0.05, "filter_margin": 0.5,
}
MOMENTUM = {"momentum": 0.9, "learning_rate": 0.0625}
NODES = {"nodes": 3, "workers": 2}

CASES = [
    {"method": "sgd", "workers": 2, **MOMENTUM},
    {"method": "data_parallel"},
    {"method": "data_parallel", "workers": 3, **MOMENTUM},
    {"method": "data_parallel", **NODES, **MOMENTUM},
    {"method": "local_sgd", "workers": 3, **MOMENTUM},
    {"method": "local_sgd", **NODES},
    {"method": "easgd"},
    {"method": "easgd", "workers": 2, "beta": 0.9, "local_period": 1, **MOMENTUM},
    {"method": "easgd", **NODES},
    {"method": "diloco"},
    {"method": "diloco", "workers": 2, "outer_learning_rate": 0.3, "local_period": 2, **MOMENTUM},
    {"method": "diloco", "outer_momentum": 0.0},
    {"method": "diloco", **NODES},
    {"method": "slowmo", "outer_learning_rate": 1.0, "outer_momentum": 0.5},
    {"method": "slowmo", **NODES, "outer_momentum": 0.4, **MOMENTUM},
    {"method": "leader_mean"},
    {"method": "leader_mean", "workers": 3, "leader_weight": 0.8, "loss_window": 5, **MOMENTUM},
    {"method": "leader_mean", **NODES},
    {"method": "leader_filter"},
    {"method": "leader_filter", "workers": 3, "filter_margin": 1.0, **MOMENTUM},
    {"method": "leader_filter", **NODES},
    {"method": "lsgd_plus"},
    {"method": "lsgd_plus", "workers": 3, "leader_weight": 0.9, "local_pull": 0.0, **MOMENTUM},
    {"method": "lsgd_plus", **NODES},
    {"method": "grawa"},
    {"method": "grawa", "workers": 3, "local_pull": 1.0, "local_period": 2, **MOMENTUM},
    {"method": "grawa", **NODES},
    {"method": "grawa_layers", "local_pull": 0.7},
    {"method": "grawa_layers", **NODES, "global_pull": 0.7},
    {"method": "dppf"},
    {"method": "dppf", "workers": 4, "local_pull": 0.9, "push": 0.3, **MOMENTUM},
    {"method": "dppf", **NODES},
]


def main():
    stored = []
    for settings in CASES:
        case = BASE | settings
        stored.append(case | {"trace": run(case)})
    path = pathlib.Path(__file__).with_name("methods.json")
    lines = ",\n".join(json.dumps(case) for case in stored)
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
