"""Judging detections: matching to annotations, FROC, ROC, intervals by patient."""
