"""The gateway's HTTP face: routes, formats, problems, metrics and documentation (CONTRACT, section 5)."""
