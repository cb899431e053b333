"""TIFF: folders of slices, and files of many pages."""
