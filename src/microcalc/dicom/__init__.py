"""What reading, writing and reports share of DICOM: codes, lenient access to attributes, headers, writing."""
