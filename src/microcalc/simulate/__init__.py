"""Simulate mammograms with exact annotations, and calcifications to insert into real mammograms."""
