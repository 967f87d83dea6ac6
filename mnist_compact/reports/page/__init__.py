"""The HTML page: all runs, confirmations and studies in one file that needs no network.

Python collects the data as JSON (`columns`, `details`, `confirmations`, `studies`), and `document` embeds it in one
file together with page.html, page.css and the scripts in js/. Scripts insert text only as text nodes, never as HTML.
"""
