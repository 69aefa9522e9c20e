"""The run: one job from the site to the report, and the care of what is hosted."""
