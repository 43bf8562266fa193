"""The reference atlas: labelled real profiles, their embeddings and the cohorts they form.

The index of record is one LanceDB table, `profiles`, beside two small Parquet tables (cohorts,
pathway scores of cohorts) and `index.json`, which ties all of it to one model release. Importing
this package loads nothing heavy.
"""

INDEX_FORMAT = 1
