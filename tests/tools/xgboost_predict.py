#!/usr/bin/env python3
"""What Python's XGBoost says of rows: xgboost_predict.py MODEL TEMPERATURE, a JSON list a line in, one out."""

import json
import sys

import numpy
import xgboost

model, temperature = sys.argv[1], float(sys.argv[2])
booster = xgboost.Booster(model_file=model)
rows = numpy.array([json.loads(line) for line in sys.stdin], dtype=numpy.float32)
margins = booster.predict(xgboost.DMatrix(rows), output_margin=True).astype(numpy.float64) / temperature
exponents = numpy.exp(margins - margins.max(axis=1, keepdims=True))
for row in exponents / exponents.sum(axis=1, keepdims=True):
    print(json.dumps(row.tolist()))
