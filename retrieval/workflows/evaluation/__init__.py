"""Measuring stored versions, and the report on one."""
