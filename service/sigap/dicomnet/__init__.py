"""Sigap and the PACS: studies pulled by DICOMweb or received by C-STORE, results sent back by either.

`configuration` is what the administrator has written down; `dicomweb` and `dimse` speak the two protocols; `pull`
brings a series in whole or not at all; `destinations` sends to either.
"""
