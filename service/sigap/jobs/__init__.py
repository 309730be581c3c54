"""A study as a job: its files, the bounded queue, and the one worker that runs it."""
