"""`lab export`: the trained model as a file that needs neither the experiment nor torch-lab.

`exporting` is the use case. The rest: what is exported (`subject`), what it is called with
(`example`, `calls`), the two kinds of files (`program`, `weights`, `safetensors`), and what they
say of themselves (`metadata`). May import what tasks may.
"""
