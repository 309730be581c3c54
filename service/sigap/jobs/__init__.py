"""A study as a durable job.

`store` accepts, lists and ends jobs; `leases` and `lease` let one gateway at a time run each; `worker` and `run` run
them; `kept` and `answers` keep results and make answers of them; `heartbeat` notices who has died.
"""
