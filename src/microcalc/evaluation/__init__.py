"""Evaluation of detections: matching to annotations, FROC and ROC curves, confidence intervals by patient."""
