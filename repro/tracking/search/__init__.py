"""MLflow's search: the grammar of filters and orders, what matches, in which order, and page by page."""
