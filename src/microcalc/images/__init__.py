"""Reading a mammogram from any file: DICOM or picture."""
