"""Plans, reports, problems and tables as text or JSON documents; values in, text out, no decisions."""
