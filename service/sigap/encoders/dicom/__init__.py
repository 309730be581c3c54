"""DICOM objects that a PACS keeps beside the images they are about."""
