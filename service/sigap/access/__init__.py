"""Who may use the service: keys, the sessions of browsers, and the record of their use."""
