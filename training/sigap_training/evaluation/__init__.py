"""What a model is worth: figures with their uncertainty, as tables and pictures."""
