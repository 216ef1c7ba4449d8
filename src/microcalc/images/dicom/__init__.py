"""Reading mammograms from DICOM, by their tags and never by the vendor's name."""
