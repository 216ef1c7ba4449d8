"""Findings as DICOM reports, and anybody's CAD reports read back."""
