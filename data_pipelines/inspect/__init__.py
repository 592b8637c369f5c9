"""What a prepared corpus and a plan hold, shown: python -m data_pipelines.inspect."""
