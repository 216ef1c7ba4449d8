"""Figures as tables, curves and pages."""
