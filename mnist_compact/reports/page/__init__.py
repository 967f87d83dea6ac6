"""The page: everything that was run as one HTML file that opens from disk, without a network.

Python gathers the data as plain JSON (`rows`, `details`, `confirmations`, `studies`); page.html, page.css and the
scripts beside it show them; `document` puts all of it into one file. Text reaches the page as text nodes alone.
"""
