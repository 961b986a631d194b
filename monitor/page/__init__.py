"""The page that shows runs: what is on it (content.py), how its numbers travel (packing.py), how it is drawn (js/).

    content.py      runs -> one dictionary of plain JSON: every name is data, clipped, never HTML
    packing.py      which points are kept, and 100,000 of them in half a megabyte of text
    still.py        the same in motionless pictures, for readers without scripts
    scales.py       their axes, and those of pictures/curves.py: which range is worth seeing, round ticks
    template.html   page.css   js/*.js

report.py writes the page into a file, serve.py shows it while training runs.
"""
