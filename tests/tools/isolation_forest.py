#!/usr/bin/env python3
"""Data sets on which the daemon's isolation forest is held against scikit-learn's, and what scikit-learn says of them.

    pip install scikit-learn && isolation_forest.py tests/forest

Writes NAME.csv.gz (one row a line, the last column 1 for an outlier) and expected.json: for each data set the area under
the ROC curve of scikit-learn's forest for each of 100 seeds, and the mean score (as in the paper, 2^(-E[h]/c(n))) of
ordinary rows and of outliers over all seeds. Trees and samples are those of the paper, 100 and 256.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy
import sklearn
from sklearn.datasets import load_breast_cancer, make_moons
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

TREES, SAMPLES, SEEDS = 100, 256, 100


def clusters(random):
    """Three Gaussian clusters of different width in 8 dimensions, and 5 % of outliers anywhere."""
    centres = random.uniform(-8, 8, (3, 8))
    usual = numpy.concatenate([random.normal(c, w, (500, 8)) for c, w in zip(centres, (0.5, 1.0, 2.0))])
    return usual, random.uniform(-12, 12, (75, 8))


def moons(random):
    """Two half-moons, and 10 % of outliers between and around them: what cuts along the axes see badly."""
    usual, _ = make_moons(1000, noise=0.08, random_state=7)
    return usual, random.uniform((-1.6, -1.1), (2.6, 1.6), (100, 2))


def breast_cancer(random):
    """Wisconsin Diagnostic Breast Cancer: 30 measures of 357 benign tumours, and 40 of the malignant ones as outliers."""
    rows, benign = load_breast_cancer(return_X_y=True)
    malignant = rows[benign == 0]
    return rows[benign == 1], malignant[random.choice(len(malignant), 40, replace=False)]


def main(folder):
    expected = {"scikit-learn": sklearn.__version__, "numpy": numpy.__version__, "trees": TREES, "samples": SAMPLES}
    for make in (clusters, moons, breast_cancer):
        usual, outliers = make(numpy.random.default_rng(20080))
        # As printed, so that both sides see the same numbers.
        rows = numpy.array([[float(f"{value:.6g}") for value in row] for row in numpy.concatenate([usual, outliers])])
        truth = numpy.array([0] * len(usual) + [1] * len(outliers))
        lines = (",".join(f"{value:.6g}" for value in row) + f",{label}\n" for row, label in zip(rows, truth))
        packed = gzip.compress("".join(lines).encode(), mtime=0)
        (folder / f"{make.__name__}.csv.gz").write_bytes(packed)
        aucs, scores = [], numpy.zeros(len(rows))
        for seed in range(SEEDS):
            forest = IsolationForest(n_estimators=TREES, max_samples=SAMPLES, random_state=seed).fit(rows)
            score = -forest.score_samples(rows)
            aucs.append(round(roc_auc_score(truth, score), 6))
            scores += score / SEEDS
        expected[make.__name__] = {
            "auc": aucs,
            "mean_score": {"usual": scores[truth == 0].mean().round(6), "outliers": scores[truth == 1].mean().round(6)},
        }
        print(make.__name__, len(rows), numpy.mean(aucs), numpy.std(aucs), expected[make.__name__]["mean_score"])
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


main(Path(sys.argv[1]))
