"""Runs a notebook from top to bottom: run_notebook.py NOTEBOOK OUTPUT.

It must run without an error and draw as many pictures as the stored one has.
"""

import sys

import nbclient
import nbformat


def pictures(notebook):
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return sum("image/png" in output.get("data", {}) for output in outputs)


def main(source, destination):
    notebook = nbformat.read(source, as_version=4)
    stored = pictures(notebook)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    for cell in notebook.cells:
        # Times of the run, which would change with each.
        cell.metadata.pop("execution", None)
    notebook.metadata.pop("language_info", None)
    nbformat.write(notebook, destination)
    drawn = pictures(notebook)
    print(f"{destination}: {drawn} pictures")
    if drawn != stored and stored:
        sys.exit(f"the stored notebook has {stored} pictures: run it again and keep the result")
    if not drawn:
        sys.exit("there are no pictures")


main(*sys.argv[1:])
