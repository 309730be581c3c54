"""The domain: volumes, tasks, segmentations and their numbers. numpy and the standard library only."""
