"""Work that is asked for by date: the invoker takes requests over HTTP, the job consumer runs registered functions.

They meet in a queue and in the table of runs. It must not know a pipeline, nor deploy anything.
"""
