"""CT segmentation for hospitals: masks, millilitres and lesion tables."""

__version__ = "0.1.0"
