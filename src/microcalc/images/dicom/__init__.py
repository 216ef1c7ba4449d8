"""Read mammograms from DICOM files, by their attributes and never by the vendor's name."""
