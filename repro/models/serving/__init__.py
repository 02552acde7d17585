"""Serve a model over HTTP: MLflow's scoring protocol, in our own process; the model works in processes of its own."""
