"""``armbench view``: runs as one HTML file that needs no server and no network.

::

    run directories ─► book (read once) ─► choose (thumbnails, size cap) ─► make: one page
                                                                              ▲
                                      *.css and *.js of this folder, concatenated

The page holds a small index in JSON, and everything else in elements the browser skips
until its script asks: items with their episodes in deflated blocks, pictures one by one.
"""
