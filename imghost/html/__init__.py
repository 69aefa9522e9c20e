"""HTML: a page's text to references, and new URLs back into the text. Knows no file and no network."""
