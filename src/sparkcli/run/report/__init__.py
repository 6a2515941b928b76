"""One self-contained HTML page on a file of records or on a run: what there is, pictured, and laid out.

    line.py      a record of any kind, by its fields
    figures.py   what is counted of records, by task
    album.py     small copies of images
    reading.py   a file of records as groups, of which only what is shown is kept
    history.py   what a run directory says of its course
    curves.py    drawings
    writing.py   the page, from the templates in page/
"""
