"""Exact Euclidean distance transforms, in memory and block by block."""
