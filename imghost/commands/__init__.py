"""What each command does: settings and a site in, lines out, exit status back."""
