"""The site: a built folder of pages and images on disk, and the map of the last run."""
