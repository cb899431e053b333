"""Phases from grey values: exact histograms, thresholds, one grey scale for all scans, and removal of specks.

A histogram is a reduction over blocks; thresholds and the majority filter are kernels of a chain. Thresholds are fitted
once, to the histograms of all scans of a study together, and then frozen.
"""

from mgsflow.segmentation.extremes import Extremes
from mgsflow.segmentation.histogram import GreyHistogram, Histogram
from mgsflow.segmentation.landmarks import Landmarks, find_landmarks, fit_rescale, valley
from mgsflow.segmentation.majority import Majority
from mgsflow.segmentation.otsu import multi_otsu, otsu_thresholds
from mgsflow.segmentation.threshold import Threshold

__all__ = [
    "Extremes",
    "GreyHistogram",
    "Histogram",
    "Landmarks",
    "Majority",
    "Threshold",
    "find_landmarks",
    "fit_rescale",
    "multi_otsu",
    "otsu_thresholds",
    "valley",
]
