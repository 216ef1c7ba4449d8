"""Reading and writing of DICOM mammograms; the only folder that knows pydicom."""
