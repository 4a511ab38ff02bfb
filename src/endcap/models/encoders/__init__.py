"""Encoders: text, pictures and sounds to unit vectors; ``active.py`` says which one speaks for a modality."""
