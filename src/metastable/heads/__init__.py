"""From the cube of counts and a contrast to one row per head."""
