"""`lab plot`: the curves of runs as a picture, or as a page that needs nothing else.

Reads journals and recorded items; numpy draws nothing, matplotlib and plotly only where asked to.
"""
