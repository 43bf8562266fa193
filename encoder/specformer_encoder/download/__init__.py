"""Fetching public files: resumed, retried, checked, recorded, and named last."""
