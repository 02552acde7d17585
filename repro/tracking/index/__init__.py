"""Search the runs of a directory: what the answer depends on is looked at, what is unchanged is known from an index.

`<root>/.repro-index-v1.sqlite3` is disposable: it holds nothing that the runs' own files do not say, and whoever
deletes it, at any time, loses time only. It is a file and not a directory, because MLflow takes each directory there
for an experiment. Every value in it stands beside the *sign* of the file it was read from (inode, size, mtime,
ctime):

- A search looks at (stats) each file that its answer depends on, and believes the index only where the sign is the
  same. What nobody asks for is not looked at: for `metrics.acc > 0.9`, newest first, that is the directory of each
  experiment (a new run), then `metrics/acc` of one run after the other, and the `meta.yaml` of those above 0.9, until
  the page is full; then everything of the runs on the page.
- Start times alone are taken unseen, to know which runs are the newest: MLflow and repro write them once. Where a run
  that is looked at has another one, all are looked at.
- So whatever changed since is found, whoever changed it and however: atomically replaced, appended, written over in
  place (as MLflow writes tags), moved, deleted, of a running or an ended run.
- A sign that is younger than two seconds is not kept, for a second change may have had the same time.

Its journal is SQLite's rollback journal: a write-ahead log needs memory that the machines of an NFS do not share, and
a writable directory to read. One search reads in one transaction, and readers never wait for each other. Who cannot
write it (it is locked, the directory is read-only, the disk is full) searches without writing it. A damaged one is
deleted. Few changes are not written at all: reading the files again costs less.
"""
