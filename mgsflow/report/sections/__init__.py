"""Sections of the report: each turns part of a study into tables, figures and sentences."""
