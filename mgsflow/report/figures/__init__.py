"""Figures of the report, drawn with matplotlib, and the small images of slices."""
