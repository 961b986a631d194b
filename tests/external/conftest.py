"""What the external judges share: helper files are not tests, and torch's own warnings are not ours."""

collect_ignore = ["numpy_in_torch.py", "opinfo_table.py", "autograd_adapter.py"]
