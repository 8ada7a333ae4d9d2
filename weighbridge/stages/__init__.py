"""Where stages meet: the running of one by key, and the evaluation that needs data, network and baselines at once."""
