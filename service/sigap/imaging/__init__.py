"""From bytes to a volume, and from probabilities to measured labels."""
