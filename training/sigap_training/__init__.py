"""Train the networks that Sigap serves, and export them."""
