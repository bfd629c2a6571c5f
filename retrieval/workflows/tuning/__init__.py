"""Searching for better settings: what may be tried, the study of trials, what was found."""
