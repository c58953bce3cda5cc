"""plot.py DATA PICTURE: time by samples and by spool files, each with its line."""

import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

with open(sys.argv[1]) as file:
    curves = json.load(file)
figure, axes = plt.subplots(1, len(curves), figsize=(11, 4.5))
for axis, curve in zip(axes, curves):
    sizes, seconds = zip(*curve["points"])
    line = [curve["intercept"] + curve["slope"] * size for size in sizes]
    axis.loglog(sizes, line, "--", color="0.6", label=curve["line"])
    axis.loglog(sizes, seconds, "o-", label="measured, median")
    axis.set(title=curve["title"], xlabel=curve["unit"], ylabel="seconds")
    axis.grid(True, which="major", color="0.9")
    axis.legend()
figure.tight_layout()
figure.savefig(sys.argv[2], dpi=100)
