"""Documentation images that live on an image host."""
