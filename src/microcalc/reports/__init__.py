"""Write findings as DICOM reports, and read CAD reports of any manufacturer."""
