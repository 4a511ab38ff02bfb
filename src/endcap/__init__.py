"""Endcap: real-time personalization for shops."""
