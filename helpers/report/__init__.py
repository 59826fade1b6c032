"""From numbers to the page."""
